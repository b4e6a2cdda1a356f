"""Dynamics that remember the last move: what a second evaluation would tell, guessed from the evaluation before."""

from __future__ import annotations

import torch
from torch import Tensor

from gantlet.core.dynamics import Field, Reports, field, move_all, name_of, refuse_shared
from gantlet.core.engine import Engine, keep_in_bounds
from gantlet.core.game import Data, Game, Turn
from gantlet.core.optimizers import Player
from gantlet.core.registry import dynamics
from gantlet.core.state import State


class Past(Field):
    """A field dynamics with the last move of every weight in its buffers: zero before the first.

    A step that was refused as not finite, or a turn that was not due, is no move: the last one is kept.
    """

    def check(self, game: Game, turns: list[Turn]) -> None:
        super().check(game, turns)
        refuse_shared(game, name_of(self))

    def begin(self, players: dict[str, Player]) -> None:
        for name, player in players.items():
            for i, weight in enumerate(player.weights):
                self.register_buffer(f"last_{name}_{i}", torch.zeros_like(weight, requires_grad=False))

    def last(self, name: str, player: Player) -> list[Tensor]:
        """The last move of each of a player's weights."""
        return [self.get_buffer(f"last_{name}_{i}") for i in range(len(player.weights))]


@dynamics
class Optimistic(Past):
    """w += 2 u_t - u_(t-1), u the optimiser's move: OMD, with Adam optimistic Adam (Daskalakis et al. 2018, alg. 1)."""

    def forward(self, state: State, engine: Engine, data: Data) -> Reports:
        batch, now = engine.draw(state, data)
        before = {name: [w.detach().clone() for w in player.weights] for name, player in state.players.items()}
        gradients = field(state, engine, batch, now)
        reports = move_all(state, engine, gradients)
        with torch.no_grad():
            for name, gradient in gradients.items():
                assert gradient.moved is not None
                self._correct(name, state.players[name], before[name], gradient.moved)
        return reports

    def _correct(self, name: str, player: Player, before: list[Tensor], moved: Tensor) -> None:
        """w + u_t becomes w + 2 u_t - u_(t-1)."""
        for weight, past, old in zip(player.weights, self.last(name, player), before):
            move = weight - old
            weight.add_(torch.where(moved, move - past, 0))
            past.copy_(torch.where(moved, move, past))
        keep_in_bounds(player)


@dynamics.named("from-the-past")
class FromThePast(Past):
    """Extragradient whose first evaluation is the last step's: w' = w + u_(t-1), w += u(w') (Popov 1980; Gidel 2019).

    One gradient a step. With plain descent w' goes as in optimistic descent.
    """

    def forward(self, state: State, engine: Engine, data: Data) -> Reports:
        batch, now = engine.draw(state, data)
        before = {name: [w.detach().clone() for w in player.weights] for name, player in state.players.items()}
        with torch.no_grad():
            for name, player in state.players.items():
                for weight, past in zip(player.weights, self.last(name, player)):
                    weight.add_(past)
                keep_in_bounds(player)
        ahead = field(state, engine, batch, now)
        with torch.no_grad():
            for name, player in state.players.items():
                torch._foreach_copy_(list(player.weights), before[name])
        reports = move_all(state, engine, ahead)
        with torch.no_grad():
            for name, gradient in ahead.items():
                assert gradient.moved is not None
                player = state.players[name]
                for weight, past, old in zip(player.weights, self.last(name, player), before[name]):
                    past.copy_(torch.where(gradient.moved, weight - old, past))
        return reports
