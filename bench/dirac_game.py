"""The Dirac-GAN, built from the package's own parts and played by its own engine: data at c, G(z) = theta, D(x) = psi x."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import gantlet.dynamics
import gantlet.losses  # noqa: F401 (importing registers)
from gantlet.core import registry
from gantlet.core.engine import Engine
from gantlet.core.game import Batch, Spec
from gantlet.core.registry import Tree, use
from gantlet.core.state import State
from gantlet.core.train import train
from gantlet.core.trick import Given, Trick
from gantlet.core.when import Now, always
from gantlet.games.classic import Classic

H = 0.1


class Theta(nn.Module):
    """A generator that puts everything at one point."""

    z_dim = 1

    def __init__(self, value: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(value, dtype=torch.float64))

    def forward(self, z: Tensor) -> Tensor:
        return self.theta.expand(z.shape[0], 1)


class Psi(nn.Module):
    """A linear critic."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.tensor(value, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return (self.psi * x).squeeze(1)


class Point:
    """All data is at `c`."""

    spec = Spec((1,), dtype=torch.float64)

    def __init__(self, c: float = 0.0) -> None:
        self.c = c

    def take(self, first: int, n: int, device: torch.device) -> Batch:
        return Batch(torch.full((n, 1), self.c, dtype=torch.float64, device=device))


class TwoPoint(Trick):
    """Gauss-Hermite quadrature of Gaussian instance noise: rows at x + s and x - s, exact to the second moment."""

    def __init__(self, s: float) -> None:
        super().__init__()
        self.s = s

    def shown(self, x: Tensor, given: Given, now: Now, side: str) -> tuple[Tensor, Given]:
        sign = 1 - 2 * (torch.arange(len(x)) % 2).to(x.dtype)
        return x + self.s * sign.unsqueeze(1), given


@dataclass(frozen=True)
class Case:
    """A way to play the Dirac-GAN, and the spectral radius that theory gives it."""

    name: str
    formula: str = ""  # as it is written
    rho: float | None = None  # as it is computed; None: the step is not differentiable at the equilibrium
    dynamics: str | Tree = "simultaneous"
    optimizer: Tree = field(default_factory=lambda: use("sgd", lr=H))
    ratio: float = 1.0  # lr of D over that of G
    game: dict[str, Any] = field(default_factory=dict)
    steps: int = 1  # rounds of one application of the map
    clip: float | None = None  # of D's weight
    c: float = 0.0  # where the data is
    batch: int = 2
    warm: int = 0  # rounds at the equilibrium before: averages that begin at their first value


def begin(case: Case, theta: float = 0.0, psi: float = 0.0, **engine_options: Any) -> tuple[State, Engine]:
    """The state before the first step, built as a run builds it."""
    game = Classic(Point.spec, G=Theta(case.c + theta), D=Psi(psi), **case.game).double()
    lr = case.optimizer["lr"]
    own = {"D": {"lr": lr * case.ratio, "clip_weights": case.clip}, "G": {}}
    players = {
        name: registry.bind("optimizer", _checked("optimizer", {**case.optimizer, **options}), total=1)
        for name, options in own.items()
    }
    dynamics = registry.bind("dynamics", _checked("dynamics", case.dynamics), total=1)()
    engine = Engine(batch=case.batch, **engine_options)
    state = State.begin(engine.place(game), players, dynamics)
    engine.settle(state)
    return state, engine


def _checked(kind: str, part: str | Tree) -> Tree:
    tree, faults = registry.check(kind, part)
    assert not faults, faults
    return tree


def carried(state: State) -> list[Tensor]:
    """Everything a step hands on to the next: weights, moments of their optimisers, buffers of the dynamics and game."""
    weights: list[Tensor] = [w for player in state.players.values() for w in player.weights]
    moments = [
        value
        for player in state.players.values()
        for kept in player.opt.state.values()
        for name, value in kept.items()
        if name != "step"
    ]
    # of one critic: the first place; what is no vector is a knob, which no step turns
    means = [b[:1] for b in state.game.buffers() if b.is_floating_point() and b.dim()]
    return weights + moments + list(state.dynamics.buffers()) + means


def jacobian(case: Case, *, size: float = 1e-4) -> Tensor:
    """Of the map from what is carried into a round to what is carried out, at the equilibrium; central differences.

    A hair beside it, where no gradient is exactly zero: a move that is may be taken for a step that was refused.
    """
    state, _ = begin(case, 1e-9, 1e-9)
    origin = torch.cat([t.detach().reshape(-1) for t in carried(state)])

    def after(point: Tensor) -> Tensor:
        state, engine = begin(case)
        train(state, engine, Point(case.c), case.warm)
        with torch.no_grad():
            rest = point
            for t in carried(state):
                t.copy_(rest[: t.numel()].view_as(t))
                rest = rest[t.numel() :]
        train(state, engine, Point(case.c), case.warm + case.steps)
        return torch.cat([t.detach().reshape(-1) for t in carried(state)])

    columns = [(after(origin + d) - after(origin - d)) / (2 * size) for d in size * torch.eye(len(origin)).double()]
    return torch.stack(columns, 1)


def spectral_radius(case: Case) -> float:
    """Largest modulus of the Jacobian's eigenvalues."""
    return float(torch.linalg.eigvals(jacobian(case)).abs().max())


def trajectory(case: Case, steps: int, start: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """(theta - c, psi) after 0, 1, ..., steps rounds, float64 [steps + 1, 2]."""
    state, engine = begin(case, *start)
    weights = [state.players["G"].weights[0], state.players["D"].weights[0]]
    path = [torch.stack([w.detach().clone() for w in weights])]
    watch = (always, lambda state, reports: path.append(torch.stack([w.detach().clone() for w in weights])))
    train(state, engine, Point(case.c), steps, [watch])
    return torch.stack(path) - torch.tensor([case.c, 0.0], dtype=torch.float64)


def radii(case: Case, steps: int, start: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """Distance from the equilibrium after 0, 1, ..., steps rounds."""
    return trajectory(case, steps, start).norm(dim=1)
