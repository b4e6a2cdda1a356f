"""Lookahead-minimax: go some rounds, come back part of the way, all players together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core.dynamics import Dynamics, Reports, name_of, refuse_shared
from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.game import Data, Game, Turn
from gantlet.core.optimizers import Player
from gantlet.core.registry import Slot, dynamics, part_of
from gantlet.core.state import State
from gantlet.core.when import Now


@dynamics
class Lookahead(Dynamics):
    """Every k rounds of an inner dynamics: slow += alpha (fast - slow), fast = slow (Chavdarova et al. 2021, alg. 1).

    Moments are kept. Averages, samples and models follow the slow weights; running statistics of a batch norm are those
    that were gathered on the way.
    """

    def __init__(
        self,
        *,
        k: Annotated[int, Field(ge=1)] = 5,
        alpha: Annotated[float, Field(gt=0, le=1)] = 0.5,
        inner: Annotated[Any, Slot("dynamics")] = {"use": "alternating"},  # noqa: B006 (read only)
    ) -> None:
        super().__init__()
        self.k, self.alpha = k, alpha
        made = part_of("dynamics", inner)
        self.inner: Dynamics = made if isinstance(made, Dynamics) else made()
        self.second_order = self.inner.second_order

    def check(self, game: Game, turns: list[Turn]) -> None:
        if self.inner.lags:
            raise InputError(
                "dynamics.inner: a lookahead inside a lookahead has slow weights of its own, which would pull the outer "
                "ones back; use a larger k, or another inner dynamics"
            )
        refuse_shared(game, name_of(self))
        self.inner.check(game, turns)

    def begin(self, players: dict[str, Player]) -> None:
        self.inner.begin(players)
        for name, player in players.items():
            for i, weight in enumerate(player.weights):
                self.register_buffer(f"slow_{name}_{i}", weight.detach().clone())

    def settled(self, now: Now) -> bool:
        return now.step % self.k == 0 and self.inner.settled(now)

    @property
    def lags(self) -> bool:
        return self.k > 1 or self.inner.lags

    def forward(self, state: State, engine: Engine, data: Data) -> Reports:
        reports: Reports = self.inner(state, engine, data)
        if (state.now.step + 1) % self.k == 0:
            self.synchronise(state)
        return reports

    @torch.no_grad()
    def synchronise(self, state: State) -> None:
        """The slow weights move towards the fast ones, which begin again from there."""
        for weight, slow in self._pairs(state):
            slow.lerp_(weight, self.alpha)
            weight.copy_(slow)

    def _pairs(self, state: State) -> Iterator[tuple[Tensor, Tensor]]:
        for name, player in state.players.items():
            yield from ((weight, self.get_buffer(f"slow_{name}_{i}")) for i, weight in enumerate(player.weights))
