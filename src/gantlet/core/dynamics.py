"""Dynamics: how the players' gradients become moves. Each works for every game it does not refuse."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Data, Game, Turn
from gantlet.core.gradients import Gradient, Report
from gantlet.core.registry import dynamics
from gantlet.core.when import Now

if TYPE_CHECKING:
    from gantlet.core.optimizers import Player
    from gantlet.core.state import State

Reports = dict[str, Report]  # turn -> what it said


class Dynamics(nn.Module, ABC):
    """One round of play. What a dynamics carries from step to step (slow weights, past moves) is in its buffers."""

    second_order = False  # does it differentiate the players' gradients?

    def check(self, game: Game, turns: list[Turn]) -> None:
        """InputError where this dynamics cannot play this game, with the reason and the way out."""

    def begin(self, players: dict[str, Player]) -> None:
        """Before the first step: make the buffers these players need."""

    def settled(self, now: Now) -> bool:
        """Are the weights at the end of a step those to average, or only on their way there?"""
        return True

    @property
    def lags(self) -> bool:
        """Are there steps at which it is not settled? Then what is sampled and saved must be a copy."""
        return False

    @abstractmethod
    def forward(self, state: State, engine: Engine, data: Data) -> Reports:
        """Play one round: draw, take gradients, move."""


dynamics.makes = Dynamics


@dynamics
class Alternating(Dynamics):
    """Each due turn in order, `times` in a row, each seeing the moves before it (Goodfellow et al. 2014, algorithm 1)."""

    def forward(self, state: State, engine: Engine, data: Data) -> Reports:
        due = [turn for turn in state.turns if turn.when(state.now)]
        plays = [(turn, k) for turn in due for k in range(turn.times)]
        reports: Reports = {}
        batch, now = engine.draw(state, data)
        for i, (turn, k) in enumerate(plays):
            if k:  # a repeated turn sees new data; the turn after it shares its last
                batch, now = engine.draw(state, data)
            again = i + 1 < len(plays) and plays[i + 1][1] == 0
            gradient = engine.gradient(state, turn, batch, now, again=again)
            engine.move(state, turn.player, gradient)
            reports[turn.name] = gradient.report
        return reports


class Field(Dynamics):
    """A dynamics of the game's vector field: every player moves once, all from the same point."""

    def check(self, game: Game, turns: list[Turn]) -> None:
        name = name_of(self)
        if self.second_order:
            refuse_first_order(game, name)
        for turn in turns:
            if turn.times > 1:
                raise InputError(
                    f"dynamics {name!r} moves each player once a step, but turn {turn.name!r} plays {turn.times} times; "
                    f"use dynamics=alternating, or play it once and raise players.{turn.player}.lr {turn.times}-fold"
                )


def name_of(part: Dynamics) -> str:
    """The name a dynamics is registered under."""
    return next((n for n, p in dynamics.parts.items() if p.fn is type(part)), type(part).__name__)


def refuse_shared(game: Game, name: str) -> None:
    """InputError for a game in which two players move one weight: what is remembered of it would count twice."""
    owner: dict[int, str] = {}
    for player, modules in game.owns().items():
        for weight in {id(p) for module in modules for p in module.parameters()}:
            if owner.setdefault(weight, player) != player:
                raise InputError(
                    f"dynamics {name!r}: the players {owner[weight]!r} and {player!r} share weights, which it would move "
                    "twice; use dynamics=alternating, simultaneous or extragradient"
                )


def refuse_first_order(game: Game, name: str) -> None:
    """InputError for a game whose mixed derivatives do not exist."""
    if game.first_order:
        raise InputError(
            f"dynamics {name!r} differentiates one player's gradient in the other's weights, but in "
            f"{type(game).__name__} that derivative does not exist (discrete samples); use dynamics=alternating or lookahead"
        )


@dynamics
class Simultaneous(Field):
    """All players move from the same point: w += h v(w) (the textbook's gradient descent-ascent)."""

    def forward(self, state: State, engine: Engine, data: Data) -> Reports:
        batch, now = engine.draw(state, data)
        return move_all(state, engine, field(state, engine, batch, now))


@dynamics
class Extragradient(Field):
    """w' = w + h v(w), then w += h v(w') (Korpelevich 1976); with Adam it is ExtraAdam (Gidel et al. 2019, algorithm 4).

    Both evaluations see the same batch and noise. Moments are updated at both, weights only move from where they were.
    """

    def forward(self, state: State, engine: Engine, data: Data) -> Reports:
        batch, now = engine.draw(state, data)
        weights: list[Tensor] = [w for player in state.players.values() for w in player.weights]
        before = [w.detach().clone() for w in weights]
        with buffers_kept(state.game):
            move_all(state, engine, field(state, engine, batch, now))
        ahead = field(state, engine, batch, now)
        with torch.no_grad():
            torch._foreach_copy_(weights, before)
        return move_all(state, engine, ahead)


def field(state: State, engine: Engine, batch: Batch, now: Now, *, create_graph: bool = False) -> dict[str, Gradient]:
    """Every player's gradient at the current point; due turns of one player add up."""
    due = [turn for turn in state.turns if turn.when(now)]
    found: dict[str, Gradient] = {}
    for i, turn in enumerate(due):
        gradient = engine.gradient(state, turn, batch, now, again=i + 1 < len(due), create_graph=create_graph)
        found[turn.player] = found[turn.player].plus(gradient) if turn.player in found else gradient
    return found


def move_all(state: State, engine: Engine, gradients: dict[str, Gradient]) -> Reports:
    """Move every player that has a gradient."""
    for name, gradient in gradients.items():
        engine.move(state, name, gradient)
    return {gradient.turn.name: gradient.report for gradient in gradients.values()}


@contextmanager
def buffers_kept(module: nn.Module) -> Iterator[None]:
    """A hypothetical evaluation leaves no trace: running statistics come back as they were."""
    before = [(b, b.detach().clone()) for b in module.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)
