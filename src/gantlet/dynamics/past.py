"""Dynamics that remember the last move: what a second evaluation would tell, guessed from the evaluation before."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gantlet.core.dynamics import Field, Reports, field, move_all
from gantlet.core.engine import Engine, keep_in_bounds
from gantlet.core.game import Data
from gantlet.core.optimizers import Player
from gantlet.core.registry import dynamics
from gantlet.core.state import State


class Past(Field):
    """A field dynamics with the last move of every weight in its buffers: zero before the first."""

    def begin(self, players: dict[str, Player]) -> None:
        for name, player in players.items():
            for i, weight in enumerate(player.weights):
                self.register_buffer(f"{name}_{i}", torch.zeros_like(weight, requires_grad=False))

    def last(self, state: State) -> Iterator[tuple[Tensor, Tensor]]:
        """(weight, its last move) of every player's weights."""
        for name, player in state.players.items():
            yield from ((weight, self.get_buffer(f"{name}_{i}")) for i, weight in enumerate(player.weights))


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
        """w + u_t becomes w + 2 u_t - u_(t-1); a refused step stays none, and its last move is kept."""
        for i, (weight, old) in enumerate(zip(player.weights, before)):
            past, move = self.get_buffer(f"{name}_{i}"), weight - old
            weight.add_(torch.where(moved, move - past, 0))
            past.copy_(torch.where(moved, move, past))
        keep_in_bounds(player)


@dynamics.named("from-the-past")
class FromThePast(Past):
    """Extragradient whose first evaluation is the last step's: w' = w + u_(t-1), w += u(w') (Popov 1980; Gidel 2019).

    One gradient a step. With plain descent w' goes as in optimistic descent.
    """

    @torch.no_grad()
    def forward(self, state: State, engine: Engine, data: Data) -> Reports:
        batch, now = engine.draw(state, data)
        before = [weight.clone() for weight, _ in self.last(state)]
        for weight, past in self.last(state):
            weight.add_(past)
        ahead = field(state, engine, batch, now)
        for (weight, _), old in zip(self.last(state), before):
            weight.copy_(old)
        reports = move_all(state, engine, ahead)
        for (weight, past), old in zip(self.last(state), before):
            past.copy_(weight - old)
        return reports
