"""Dynamics that differentiate the players' gradients: xi is all gradients, J its Jacobian in all weights."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, NamedTuple

import torch
from pydantic import Field as Bounds
from torch import Tensor, nn

from gantlet.core.dynamics import Field, Reports, field, move_all
from gantlet.core.engine import Engine
from gantlet.core.game import Data
from gantlet.core.gradients import Gradient
from gantlet.core.registry import dynamics
from gantlet.core.state import State
from gantlet.core.when import Schedule, at

Weight = Annotated[Schedule, Bounds(ge=0)]


class Joint(NamedTuple):
    """The gradients of all players side by side; a weight that no loss depends on is left out."""

    gradients: dict[str, Gradient]
    weights: list[nn.Parameter]
    xi: list[Tensor]  # with a graph

    @classmethod
    def at(cls, state: State, gradients: dict[str, Gradient]) -> Joint:
        pairs = [
            (weight, grad)
            for name, gradient in gradients.items()
            for weight, grad in zip(state.players[name].weights, gradient.grads)
            if grad is not None
        ]
        return cls(gradients, [w for w, _ in pairs], [g for _, g in pairs])

    def times_transpose(self, along: list[Tensor], *, again: bool) -> list[Tensor]:
        """J^T v"""
        kept = [(g, v) for g, v in zip(self.xi, along) if g.requires_grad]
        if not kept:
            return [torch.zeros_like(w) for w in self.weights]
        found = Engine.pull([g for g, _ in kept], self.weights, [v for _, v in kept], again=again)
        return [torch.zeros_like(w) if f is None else f for f, w in zip(found, self.weights)]

    def times(self, along: list[Tensor]) -> list[Tensor]:
        """J v, as the derivative in u of (J^T u) . v"""
        u = [torch.zeros_like(g, requires_grad=True) for g in self.xi]
        rows = self.times_transpose(u, again=True)
        kept = [(r, v) for r, v in zip(rows, along) if r.requires_grad]
        if not kept:
            return [torch.zeros_like(g) for g in self.xi]
        found = Engine.pull([r for r, _ in kept], u, [v for _, v in kept], again=False)
        return [torch.zeros_like(x) if f is None else f for f, x in zip(found, u)]

    def plus(self, change: list[Tensor]) -> dict[str, Gradient]:
        """Every player's gradient with its share of `change` added, without a graph."""
        rest = iter(change)
        for gradient in self.gradients.values():
            gradient.grads = [None if g is None else g.detach() + next(rest).detach() for g in gradient.grads]
        return self.gradients


class SecondOrder(Field):
    """Takes the joint gradient with a graph, changes it, moves everybody once."""

    second_order = True

    def __init__(self, *, weight: Weight = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, state: State, engine: Engine, data: Data) -> Reports:
        batch, now = engine.draw(state, data)
        joint = Joint.at(state, field(state, engine, batch, now, create_graph=True))
        change = [at(self.weight, now) * c for c in self.change(joint)]
        return move_all(state, engine, joint.plus(change))

    @abstractmethod
    def change(self, joint: Joint) -> list[Tensor]:
        """What is added to xi, before the weight."""


@dynamics
class Consensus(SecondOrder):
    """xi + weight grad(1/2 |xi|^2): each player also lowers both gradients (Mescheder, Nowozin and Geiger 2017, eq. 12).

    Local: with a large weight, points where the gradient is merely small attract as well.
    """

    def change(self, joint: Joint) -> list[Tensor]:
        return joint.times_transpose([g.detach() for g in joint.xi], again=False)


@dynamics
class Symplectic(SecondOrder):
    """xi + weight A^T xi, A the antisymmetric part of J: turns rotation inwards (Balduzzi et al. 2018, algorithm 1)."""

    def __init__(
        self,
        *,
        weight: Weight = 1.0,
        align: bool = True,  # towards stable points only: the sign of <xi, grad H> <A^T xi, grad H> + 1/10
    ) -> None:
        super().__init__(weight=weight)
        self.align = align

    def change(self, joint: Joint) -> list[Tensor]:
        xi = [g.detach() for g in joint.xi]
        forth = [f.detach() for f in joint.times(xi)]
        back = [b.detach() for b in joint.times_transpose(xi, again=False)]  # grad H, H = 1/2 |xi|^2
        turned = [(b - f) / 2 for b, f in zip(back, forth)]
        if not self.align:
            return turned
        size = sum(w.numel() for w in joint.weights)
        agreement = _dot(xi, back) * _dot(turned, back) / size + 0.1
        return [torch.where(agreement >= 0, t, -t) for t in turned]


def _dot(a: list[Tensor], b: list[Tensor]) -> Tensor:
    return torch.stack([(x * y).sum() for x, y in zip(a, b)]).sum()
