"""What can be told in the first steps: moves that are too large, and a critic that nothing will hold."""

from __future__ import annotations

from gantlet.doctor import remedies
from gantlet.doctor.finding import Measure, Seen, Sign, detects
from gantlet.doctor.settings import bounded


@detects("dynamics", remedies.tame_rates, remedies.slower_both, hold=1)
def large_steps(seen: Seen, *, share: float = 0.15) -> Sign | None:
    """A player's steps are too large: each moves its weights by more than 15 % of their norm (healthy games: at most 8 %,
    and that in the first 20 steps alone).

    A few such steps put other weights in the place of those that were drawn: nothing that was learnt lasts, and the other
    player never sees the same opponent twice. An adaptive optimiser takes steps as large as its learning rate, whatever the
    gradient; so this is the learning rate.
    """
    if seen.about.critic is None:
        return None
    norms = {turn: seen.now(f"{turn}.weights") for turn in seen.about.players}
    found = {turn: seen.now(f"{turn}.update") / norm for turn, norm in norms.items() if norm > 0}
    worst = max(found, key=lambda turn: found[turn], default=None)
    if worst is None or not found[worst] > share:
        return None
    measure = Measure(
        "one step, as a share of the weights", found[worst], high=share, vital=f"{worst}.update", unit=norms[worst]
    )
    return Sign((measure,), seen.about.players[worst])


@detects("structure", remedies.damp, hold=1)
def unbounded(seen: Seen) -> Sign | None:
    """Nothing holds the critic: with a Wasserstein loss and neither a penalty on its slope, nor spectral norm, nor clipped
    weights it is rewarded for steepness without end (Arjovsky, Chintala and Bottou 2017).

    The Wasserstein distance is the best that a critic of slope 1 can do. Without that bound the loss is no distance: a
    critic twice as steep always scores twice as well. Its logits grow, the generator's gradients grow with them, and the
    two begin to swing. Batch norm slows this down and does not bound it.
    """
    if bounded(seen):
        return None
    slope = Measure(
        "slope of the generator's loss at the samples", seen.g("slope.fake"), vital=f"{seen.about.generator}.slope.fake"
    )
    return Sign((Measure("parts of the recipe that bound the critic's slope", 0, low=1), slope), "D")
