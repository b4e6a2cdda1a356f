"""Sign: a player is rewarded for the wrong thing, so that two losses fall which cannot fall together."""

from __future__ import annotations

from gantlet.doctor.finding import Measure, Remedy, Seen, Sign, detects

EDGE = 0.2  # of its range so far: a value that near its least or largest is there


def loss_name(seen: Seen, turn: str | None, label: str) -> str:
    """The vital of what a turn minimises: by its usual label, else the only term there is; empty: not known."""
    head = f"{turn}.term."
    names = [
        n for n in (seen.windows[-1].values if seen.windows else {}) if n.startswith(head) and not n.endswith(".std")
    ]
    usual = f"{head}{label}"
    return usual if usual in names else names[0] if len(names) == 1 else ""


def is_least(values: list[float]) -> bool:
    """Did it fall since the first window, and is it about as low now as it ever was?"""
    if len(values) < 2 or not values[-1] < values[0]:
        return False
    low, high = min(values), max(values)
    return values[-1] <= low + EDGE * (high - low)


def both_fall(seen: Seen) -> bool:
    """Are both players better off than ever?"""
    names = (loss_name(seen, seen.about.critic, "D"), loss_name(seen, seen.about.generator, "G"))
    return all(name and is_least(seen.past(name)) for name in names)


def _losses(seen: Seen) -> tuple[Measure, ...]:
    sides = (("D", seen.about.critic), ("G", seen.about.generator))
    names = [(label, loss_name(seen, turn, label)) for label, turn in sides]
    return tuple(Measure(f"{label}'s loss, the lowest so far", seen.now(name), vital=name) for label, name in names)


def turn_labels(seen: Seen, sign: Sign) -> Remedy:
    """Which side is which."""
    return Remedy(
        "Turn the critic's labels: its loss must fall as logits of reals rise and those of samples fall (real first in its "
        "arguments, and label 1 for real), or the generator's loss must have the other sign"
    )


def turn_sign(seen: Seen, sign: Sign) -> Remedy:
    """What G should want."""
    return Remedy(
        "Turn the sign of the generator's loss: it must fall as the critic's logits of samples rise (with label 1 for its "
        "samples where it is a cross entropy)"
    )


@detects("sign", turn_labels)
def cooperative(seen: Seen, *, auc: float = 0.1, separation: float = -1.0) -> Sign | None:
    """The critic ranks samples above reals, and both losses fall together: the two work hand in hand, as they do if the
    critic's labels are swapped.

    In a game for two what one wins the other loses. A critic that calls samples real is paid for it here, and the generator
    is paid for the same, so both go wherever that is easiest, and that has nothing to do with the data.
    """
    if not seen.about.ordered or not (seen.d("auc") < auc and seen.d("separation") < separation and both_fall(seen)):
        return None
    turn = seen.about.critic
    return Sign(
        (
            Measure("pairs that D ranks rightly", seen.d("auc"), low=auc, vital=f"{turn}.auc"),
            Measure(
                "D's advantage in units of its spread", seen.d("separation"), low=separation, vital=f"{turn}.separation"
            ),
            *_losses(seen),
        ),
        _player(seen, turn),
    )


@detects("sign", turn_sign)
def diverged_sign(seen: Seen, *, auc: float = 0.95, separation: float = 3.0, centre: float = 3.0) -> Sign | None:
    """Samples run away from the data while the critic tells them ever better, and the generator's loss falls with it: it is
    rewarded for being found out.

    The generator should be paid for samples that the critic takes for real. With the sign turned it looks for those that are
    the easiest to tell, and there is no end to that: it leaves the data behind, further in every step.
    """
    found = seen.past(f"{seen.about.critic}.centre")
    away = len(found) > 1 and found[-1] > centre and is_least([-value for value in found])
    told = seen.d("auc") > auc and seen.d("separation") > separation
    if not (seen.about.ordered and away and told and both_fall(seen)):
        return None
    turn = seen.about.critic
    return Sign(
        (
            Measure(
                "distance of the samples' middle from the reals' in widths",
                found[-1],
                high=centre,
                vital=f"{turn}.centre",
            ),
            Measure("pairs that D ranks rightly", seen.d("auc"), high=auc, vital=f"{turn}.auc"),
            *_losses(seen),
        ),
        _player(seen, seen.about.generator),
    )


def _player(seen: Seen, turn: str | None) -> str:
    return seen.about.players.get(turn, turn) if turn is not None else ""
