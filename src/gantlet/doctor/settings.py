"""What the recipe says, as remedies ask for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gantlet.core import registry
from gantlet.core.trick import Trick
from gantlet.doctor.finding import Seen

HOT = 5e-3  # a learning rate above which an optimiser that normalises its steps seldom trains a game
SLOW = 2.5e-4  # ... and one under which it needs more steps than many trainings have
USUAL_RATE = 1e-3  # what is proposed in its place; published rates are 1e-4 to 2.5e-3
USUAL_GAMMA = {True: 1.0, False: 0.1}  # of R1 and of R2: images (up to 64 x 64), points
USUAL_WEIGHT = {True: 10.0, False: 0.1}  # of a gradient penalty to 1: Gulrajani et al. 2017, and their toys


def is_image(seen: Seen) -> bool:
    return len(seen.about.shape) == 3


def usual_gamma(seen: Seen) -> float:
    """Of R1 and of R2 on this data; above 64 x 64 published presets grow with the area (Huang et al. 2024)."""
    area = seen.about.shape[-1] * seen.about.shape[-2] if is_image(seen) else 1
    return USUAL_GAMMA[is_image(seen)] * max(1.0, area / 64**2)


def sides(seen: Seen) -> list[str]:
    """The players of the critic's turn and of the generator's, as far as the recipe has them."""
    about = seen.about
    named = [about.players.get(turn, turn) for turn in (about.critic or "D", about.generator or "G")]
    return [name for name in named if name in about.get("players", {})]


def usual_weight(seen: Seen) -> float:
    """Of a penalty that wants slopes of 1."""
    return USUAL_WEIGHT[is_image(seen)]


def start_of(value: Any) -> float | None:
    """A number, or what a schedule begins with."""
    if isinstance(value, Mapping):
        value = value.get("start", value.get("value"))
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def rates(seen: Seen) -> dict[str, float]:
    """Player -> learning rate at the start, of the two sides."""
    found = {name: start_of(seen.about.get(f"players.{name}.lr")) for name in sides(seen)}
    return {name: rate for name, rate in found.items() if rate is not None}


def normalises(seen: Seen, player: str) -> bool:
    """Does its optimiser divide by the size of gradients, so that the learning rate is how far a weight moves?"""
    return "eps" in seen.about.get(f"players.{player}", {})


def scaled(seen: Seen, path: str, factor: float) -> list[str]:
    """The changes that multiply an option by a factor; of a schedule, all its numbers of that kind."""
    value = seen.about.get(path)
    if isinstance(value, Mapping):
        return [c for key in ("value", "start", "end") for c in scaled(seen, f"{path}.{key}", factor)]
    known = isinstance(value, int | float) and value > 0
    return [f"{path.removeprefix('game.')}={value * factor:.3g}"] if known else []


def penalties(seen: Seen) -> Iterator[tuple[str, str, float]]:
    """Label, option and weight of each penalty that has one."""
    for label, part in (seen.about.get("game.penalties") or {}).items():
        for option in ("gamma", "weight"):
            weight = start_of(part.get(option))
            if weight is not None:
                yield label, option, weight


def strengths(seen: Seen) -> Iterator[tuple[str, float]]:
    """Label of each penalty on the critic's slope whose weight is a plain number, and how many times the usual it is."""
    for label, option, weight in penalties(seen):
        fixed = not isinstance(seen.about.get(f"game.penalties.{label}.{option}"), Mapping)
        part = used(seen, "penalties")[label]
        if fixed and (option == "gamma" or part in ("gp", "gp-one-sided")):
            usual = usual_gamma(seen) if option == "gamma" else usual_weight(seen)
            yield label, seen.about.turned.get(label, 1.0) * weight / usual


def used(seen: Seen, kind: str) -> dict[str, str]:
    """Label -> part of the penalties or tricks."""
    return {label: part.get("use", label) for label, part in (seen.about.get(f"game.{kind}") or {}).items()}


def constrained(seen: Seen) -> bool:
    """Is anything there that bounds the critic's slope?"""
    smooth = [label for label, _, _ in penalties(seen) if used(seen, "penalties")[label] not in ("lecam", "orthogonal")]
    clipped = any(seen.about.get(f"players.{name}.clip_weights") for name in sides(seen))
    return bool(smooth or clipped or seen.about.get("game.D.spectral"))


def labelled_losses_only(seen: Seen) -> bool:
    """Has the recipe a trick that some losses refuse?"""
    parts = (registry.trick.parts.get(name) for name in used(seen, "tricks").values())
    return any(getattr(part.fn, "refuse", Trick.refuse) is not Trick.refuse for part in parts if part is not None)


FEW_UNITS = {"hidden": 16, "width": 8}  # in the narrowest layer of a perceptron; filters at full size


def narrow(seen: Seen) -> bool:
    """Has the generator a layer of very few units?"""
    for option, least in FEW_UNITS.items():
        units = seen.about.get(f"game.G.{option}")
        if units and min(units if isinstance(units, list | tuple) else [units]) < least:
            return True
    return False


def steepness_pays(seen: Seen) -> bool:
    """Does the recipe's loss reward a steeper critic without end?"""
    part = seen.about.get("game.adversarial")
    return isinstance(part, Mapping) and "use" in part and bool(registry.part_of("adversarial", part)().steepness_pays)


def bounded(seen: Seen) -> bool:
    """False where the loss rewards a steeper critic without end and nothing in the recipe keeps it from that."""
    return not steepness_pays(seen) or constrained(seen)
