"""What the recipe and the steps tell early: steps that are too large or too small, a critic that is held too firmly or not
at all."""

from __future__ import annotations

import math

from gantlet.doctor import remedies
from gantlet.doctor.finding import Measure, Seen, Sign, detects
from gantlet.doctor.settings import SLOW, bounded, rates, strengths
from gantlet.doctor.trends import critic, player


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


@detects("dynamics", remedies.usual_rates, hold=2, warm=50, residual=True)
def small_steps(
    seen: Seen, *, path: float = 2.0, slow: float = SLOW, ranks: float = 0.85, variety: float = 0.8,
    off: float = 0.5, covered: float = 0.7, short: int = 1_000,
) -> Sign | None:  # fmt: skip
    """A player's steps are too small for this training: all of them, laid end to end, are shorter than twice the norm of
    its weights, at a learning rate under 2.5e-4, and samples are not right yet.

    An adaptive optimiser takes steps as large as its learning rate, whatever the gradient. Where their number times their
    size is too short a way, nothing that happens on it can end well: training is over before it has begun.
    """
    steps = seen.about.get("steps")
    # so short a training is for a look; and after its half rates may be on their way down, and it is too late
    if not isinstance(steps, int) or steps < short or 2 * seen.step > steps:
        return None
    # of few kinds, in another place, told from reals, or far from many of them
    kinds, place, ranked = seen.d("diversity"), seen.d("centre"), seen.d("auc")
    reached = seen.measured("probe.coverage")
    if not (kinds < variety or place > off or ranked > ranks or reached < covered):
        return None
    found = {}
    for turn, name in seen.about.players.items():
        norm = seen.now(f"{turn}.weights")
        if norm > 0 and rates(seen).get(name, slow) * seen.about.turned.get(name, 1.0) < slow:
            found[turn] = steps * seen.now(f"{turn}.update") / norm
    shortest = min(found, key=lambda turn: found[turn], default="")
    if not found or not found[shortest] < path:
        return None
    measures = (
        Measure(
            "way of all its steps, in norms of the weights", found[shortest], low=path, vital=f"{shortest}.update",
            unit=seen.now(f"{shortest}.weights") / steps,
        ),
        Measure("variety of the samples beside that of reals", kinds, low=variety, vital=critic(seen, "diversity")),
        Measure("pairs that the critic ranks rightly", ranked, high=ranks, vital=critic(seen, "auc")),
        Measure("share of reals with a sample near by", reached, low=covered, vital="probe.coverage"),
    )  # fmt: skip
    return Sign(tuple(m for m in measures if not math.isnan(m.value)), seen.about.players[shortest])


@detects("dynamics", remedies.lighter_penalty, hold=1, warm=200)
def heavy_penalty(seen: Seen, *, heavy: float = 16.0, covered: float = 0.6) -> Sign | None:
    """The critic is held too firmly: the penalty on its slope is over 16 times what is usual for such data, and fewer than
    60 % of reals have a sample near by.

    A penalty keeps the critic from being steep, and a difference that is small in the data can be told only by a steep
    one. Under a very heavy penalty the critic sees where samples are as a whole and nothing finer, so that is all that the
    generator can learn; and the steps in which it pulls the critic flat are larger than those in which it learns.
    """
    weight, reach = max((times for _, times in strengths(seen)), default=0.0), seen.measured("probe.coverage")
    if not (weight > heavy and reach < covered):
        return None
    measures = (
        Measure("penalty on the critic's slope over what is usual", weight, high=heavy),
        Measure("share of reals with a sample near by", reach, low=covered, vital="probe.coverage"),
    )
    return Sign(measures, player(seen, seen.about.critic))


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
