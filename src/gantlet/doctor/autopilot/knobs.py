"""What may be turned in a training: factors on learning rates and penalties, and how much is augmented."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from gantlet.augment.control import Controller
from gantlet.core.optimizers import Player
from gantlet.core.state import State
from gantlet.doctor.finding import About, Seen
from gantlet.doctor.settings import HOT, SLOW, USUAL_RATE, strengths
from gantlet.games.arena import Arena

REACH = 64.0  # a factor stays within 1/64..64 of where it started: beyond that it is another recipe
COLD = 1e-4  # a rate below which a player that loses is too slow to win
APART = 8.0  # so many times what is usual, or a part of it, is far off
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
        # one that is outside already, since it was made usual at once, may come back
        ends = [ratio * dial.read() for dial in self.dials]
        inside = max(ends) <= self.high if ratio > 1 else min(ends) >= self.low
        return ratio * self.value if inside else None

    def set(self, value: float) -> None:
        """Turn it so that its value is this one."""
        if len(self.dials) == 1:
            self.dials[0].write(value)
            return
        ratio = value / self.value
        for dial in self.dials:
            dial.write(ratio * dial.read())


def unusual(state: State, about: About) -> dict[str, tuple[str, float]]:
    """What is far from what trains games: a word for it -> kind of knob, the ratio that would make it usual.

    `hot`: the highest learning rate. `slow.PLAYER`, `cold.PLAYER`: a low one, a very low one. `heavy`, `faint`: the
    penalties on the critic's slope.
    """
    found: dict[str, tuple[str, float]] = {}
    rates = {  # of optimisers that divide by the size of gradients, and so move each weight by about their rate
        name: player.rate(state.now) for name, player in state.players.items() if "eps" in player.opt.defaults
    }
    for name, rate in sorted(rates.items(), key=lambda item: item[1]):  # the highest is written last
        words = {"hot": rate > HOT, f"slow.{name}": 0 < rate < SLOW, f"cold.{name}": 0 < rate < COLD}
        found |= {word: (f"lr.{name}", USUAL_RATE / rate) for word, holds in words.items() if holds}
    ratio = max((times for _, times in strengths(Seen((), replace(about, turned=turned(state))))), default=0.0)
    if ratio > APART or 0 < ratio < 1 / APART:
        found["heavy" if ratio > 1 else "faint"] = ("penalty", 1 / ratio)
    return found


def turned(state: State) -> dict[str, float]:
    """Player or label of a penalty -> the factor that is on what the recipe says."""
    arena = getattr(state.game, "arena", None)
    labels = [k for k, p in arena.penalties.items() if p.term is not None] if isinstance(arena, Arena) else []
    return {
        **{name: player.factor for name, player in state.players.items()},
        **{label: float(arena.factor(label)) for label in labels},  # type: ignore[union-attr]
    }


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
