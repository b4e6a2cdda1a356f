"""Wiring: what should learn does not, since no gradient reaches it or nobody moves it."""

from __future__ import annotations

import itertools
import math

from gantlet.doctor.finding import Measure, Remedy, Seen, Sign, detects
from gantlet.doctor.findings.structure import always_below, varieties
from gantlet.doctor.remedies import offer
from gantlet.doctor.settings import USUAL_RATE, start_of


def turns_of(seen: Seen) -> list[str]:
    """The turns whose moves were looked at in the last window."""
    names = seen.windows[-1].values if seen.windows else {}
    return [name.removesuffix(".still") for name in names if name.endswith(".still")]


def player_of(seen: Seen, turn: str) -> str:
    return seen.about.players.get(turn, turn)


def still_weights(seen: Seen, turn: str) -> frozenset[int]:
    """Numbers of the weights, in the order of their player, that had no gradient in any window so far."""
    head = f"still_at.{turn}."
    found = [
        {int(name.removeprefix(head)) for name in window.values if name.startswith(head)}
        for window in seen.windows
        if f"{turn}.still" in window.values
    ]
    return frozenset(set.intersection(*found)) if found else frozenset()


def beginning(still: frozenset[int]) -> int:
    """How many weights in a row, from the first on, have no gradient; 0 where more than that is amiss.

    What is cut off lies before the cut. Others are no fault: the last bias of a critic whose loss knows only differences of
    logits stands alone, and the layers that a growing network does not use yet are not the first of all.
    """
    count = next(n for n in itertools.count() if n not in still)
    rest = sorted(k for k in still if k > count)
    return 0 if any(b - a == 1 for a, b in itertools.pairwise(rest)) else count


def all_alike(seen: Seen, most: float = 1e-6) -> bool:
    """Have samples been the same since the start? Where latents are zero, so is the gradient of what they meet first."""
    return any(always_below(seen, name, most) for name in varieties(seen))


def rectifiers_rest(seen: Seen, most: float = 0.99) -> bool:
    """Is a whole layer of rectifiers dead? Then gradients are zero because of it."""
    return any(seen.measured(f"probe.dead_worst.{role}") > most for role in ("D", "G"))


# ---- no gradient ------------------------------------------------------------------------------------------------------


def join_the_graph(seen: Seen, sign: Sign) -> Remedy:
    """What cuts a graph."""
    return Remedy(
        "Look between these weights and the loss for what cuts the graph: detach(), no_grad(), .data, a way through numpy, "
        "a rounding or an argmax, a factor that is 0, a module that forward() leaves out"
    )


@detects("wiring", join_the_graph)
def no_gradient(seen: Seen, *, most: float = 0.0) -> Sign | None:
    """The gradient in all of a player's weights, or in the first of them, has been exactly zero since the start: the loss
    does not reach them (AutoTrainer looks for the same, Zhang et al. 2021).

    Weights learn from the gradient of a loss that depends on them. Something between them and the loss cuts that
    dependence, so they stay what they were at the start while everything else goes on. It often looks like a collapse, or
    like a critic that is too strong.
    """
    if rectifiers_rest(seen):
        return None
    for turn in turns_of(seen):
        player, norms = player_of(seen, turn), seen.past(f"{turn}.gradient")
        if norms and max(norms) <= most:
            return Sign(
                (Measure(f"norm of {player}'s gradient", norms[-1], low=1e-12, vital=f"{turn}.gradient"),), player
            )
        first = beginning(still_weights(seen, turn))
        if first and not all_alike(seen):
            share = seen.now(f"{turn}.still")
            name = f"share of {player}'s weight tensors without any gradient"
            return Sign((Measure(name, share, high=0.0, vital=f"{turn}.still"),), f"{player}: {_numbered(first)}")
    return None


def _numbered(count: int) -> str:
    return "the first of its weights" if count == 1 else f"the first {count} of its weights"


# ---- not updating -----------------------------------------------------------------------------------------------------


def give_a_rate(seen: Seen, sign: Sign) -> Remedy | None:
    """A learning rate where there is none."""
    names = [
        name for name in sign.who.split(" and ") if not (start_of(seen.about.get(f"players.{name}.lr")) or 0.0) > 1e-9
    ]
    change = [f"players.{name}.lr={USUAL_RATE:g}" for name in names]
    return offer(seen, f"Give {' and '.join(names)} a learning rate", *change, source="usual rates are 1e-4 to 2e-3")


def own_weights(seen: Seen, sign: Sign) -> Remedy:
    """The optimiser of the right weights."""
    return Remedy(
        f"Look which weights the optimiser of {sign.who} was given: after a network is replaced or copied it holds the old "
        "ones, and it must hold that player's and no other's. Then look at its learning rate"
    )


@detects("wiring", give_a_rate, own_weights)
def not_updating(seen: Seen, *, felt: float = 1e-6, share: float = 1e-9) -> Sign | None:
    """A player has a gradient, and its weights do not move: by not one bit, by less than numbers can hold, or the optimiser
    moves another player's.

    The gradient arrives, so the loss is wired rightly; what is wrong comes after it: a learning rate of 0, or an optimiser
    that was given other weights than those that are played with. The other player goes on alone, and it soon looks as if
    it were too strong.
    """
    lazy = [turn for turn in turns_of(seen) if _rests(seen, turn, felt, share)]
    if lazy:
        names = list(dict.fromkeys(player_of(seen, turn) for turn in lazy))
        found = tuple(
            measure
            for turn in lazy
            for measure in (
                Measure(
                    f"norm of {player_of(seen, turn)}'s steps",
                    seen.now(f"{turn}.update"),
                    low=share,
                    vital=f"{turn}.update",
                ),
                Measure(
                    f"norm of {player_of(seen, turn)}'s gradient",
                    seen.now(f"{turn}.gradient"),
                    vital=f"{turn}.gradient",
                ),
            )
        )
        return Sign(found, " and ".join(names))
    return _others_weights(seen)


def _rests(seen: Seen, turn: str, felt: float, share: float) -> bool:
    update, weights, gradient = (seen.now(f"{turn}.{name}") for name in ("update", "weights", "gradient"))
    return (update == 0 and gradient > felt) or (update < share * weights and gradient > 1e-3)


def _others_weights(seen: Seen) -> Sign | None:
    """Two players whose weights have had one norm in every window move the same weights; the one whose samples never
    change is the one that was left out."""
    about, turns = seen.about, turns_of(seen)
    for one, other in itertools.combinations(turns, 2):
        if not about.players or player_of(seen, one) == player_of(seen, other):
            continue
        norms = [
            (w.values.get(f"{one}.weights", math.nan), w.values.get(f"{other}.weights", math.nan)) for w in seen.windows
        ]
        moves = seen.now(f"{one}.update") > 0 and seen.now(f"{other}.update") > 0
        if moves and len(set(norms)) > 1 and all(a == b for a, b in norms):
            who = _left_out(seen, one, other)
            measure = Measure(
                f"norm of the weights of {player_of(seen, one)} and of {player_of(seen, other)} alike", norms[-1][0]
            )
            return Sign((measure._replace(vital=f"{one}.weights"),), who)
    return None


def _left_out(seen: Seen, one: str, other: str) -> str:
    made, maker, judge = seen.past("probe.live_diversity"), seen.about.generator, seen.about.critic
    if len(made) < 2 or maker is None or judge is None or {maker, judge} != {one, other}:
        return f"{player_of(seen, one)} and {player_of(seen, other)}"
    return player_of(seen, maker if len(set(made)) == 1 else judge)
