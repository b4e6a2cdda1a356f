"""What may be turned in a training: factors on learning rates and penalties, and how much is augmented."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gantlet.augment.control import Controller
from gantlet.core.optimizers import Player
from gantlet.core.state import State
from gantlet.games.arena import Arena

REACH = 64.0  # a factor stays within 1/64..64 of where it started: beyond that it is another recipe
HOT = 5e-3  # a rate above which Adam seldom trains a game: published ones are 1e-4 to 2.5e-3
FIRST_P = 0.1  # where augmentation begins when it has not: doubling 0 leads nowhere


class Dial(NamedTuple):
    """One number that can be read and written."""

    name: str
    read: Callable[[], float]
    write: Callable[[float], None]


class Knob:
    """Dials that turn together, by the same ratio; `value` is the largest of them.

    `low`, `high`: bounds that none of them leaves. `least`: where a step up begins from zero.
    """

    def __init__(self, *dials: Dial, low: float = 1 / REACH, high: float = REACH, least: float = 0.0) -> None:
        self.dials, self.low, self.high, self.least = dials, low, high, least
        self.name = " + ".join(dial.name for dial in dials)

    @property
    def value(self) -> float:
        return max(dial.read() for dial in self.dials)

    def stepped(self, ratio: float) -> float | None:
        """Its value after a step; None where a dial would leave its bounds."""
        if self.least and ratio > 1:
            after = min(max(ratio * self.value, self.least), self.high)
            return after if after > self.value else None
        inside = all(self.low <= ratio * dial.read() <= self.high for dial in self.dials)
        return ratio * self.value if inside else None

    def set(self, value: float) -> None:
        """Turn it so that its value is this one."""
        if len(self.dials) == 1:
            self.dials[0].write(value)
            return
        ratio = value / self.value
        for dial in self.dials:
            dial.write(ratio * dial.read())


def hottest(state: State) -> str | None:
    """The kind of knob of the player whose rate is highest, where that is hot: None where none is."""
    rates = {
        name: player.rate(state.now) for name, player in state.players.items() if "eps" in player.opt.defaults
    }  # an optimiser that divides by the size of gradients moves each weight by about its rate
    name = max(rates, key=lambda name: rates[name], default="")
    return f"lr.{name}" if rates.get(name, 0.0) > HOT else None


def knobs(state: State) -> dict[str, Knob]:
    """What this training has of: `lr` (all players), `lr.PLAYER`, `penalty` (those of the critics), `augment`."""
    rates = {name: _rate(name, player) for name, player in state.players.items()}
    found = {"lr": Knob(*rates.values()), **{f"lr.{name}": Knob(dial) for name, dial in rates.items()}}
    arena = getattr(state.game, "arena", None)
    if not isinstance(arena, Arena):
        return found
    # R1 and R2 are one strength in theory and in every recipe: they turn together
    strengths = [
        _buffer(f"penalties.{label}", arena.factor(label))
        for label, penalty in arena.penalties.items()
        if penalty.term is not None
    ]
    if strengths:
        found["penalty"] = Knob(*strengths)
    for label, trick in arena.ordered:
        control = getattr(trick, "control", None)
        if isinstance(control, Controller) and getattr(trick, "fixed", None) is None:
            dial = _buffer(f"tricks.{label}.p", control.p)
            found["augment"] = Knob(dial, low=0.0, high=control.cap, least=min(FIRST_P, control.cap))
    return found


def _rate(name: str, player: Player) -> Dial:
    return Dial(f"players.{name}.lr", lambda: player.factor, lambda value: setattr(player, "factor", value))


def _buffer(name: str, buffer: Tensor) -> Dial:
    def write(value: float) -> None:
        with torch.no_grad():
            buffer.fill_(value)

    return Dial(name, lambda: float(buffer), write)
