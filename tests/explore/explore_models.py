"""Small models for the latent tools: a linear generator, one with styles, and those that recipes play with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.game import Spec
from gantlet.core.noise import normal_of
from gantlet.core.recipe import recipe
from gantlet.games.classic import Classic
from gantlet.runs.model import Model
from helpers import small

SPEC = Spec((1, 8, 8), classes=3)


def model_of(G: nn.Module, spec: Spec = SPEC, **options: object) -> Model:
    """A model of the classic game around a generator."""
    return Model(Classic(spec, G=G, D="mlp", **options), spec, {})


def model_from(name: str, *changes: str, spec: Spec = SPEC, seed: int = 0) -> Model:
    """An untrained model of a recipe with narrow networks."""
    made = small(recipe(name)).override(*changes) if changes else small(recipe(name))
    torch.manual_seed(seed)
    return Model(registry.bind("game", made.tree["game"], total=1)(spec), spec, {})


class Linear(nn.Module):
    """x = A z + b, reshaped; the columns of A have the lengths given."""

    def __init__(self, lengths: list[float], turn: Tensor | None = None) -> None:
        super().__init__()
        self.z_dim = len(lengths)
        self.layer = nn.Linear(self.z_dim, 64)
        with torch.no_grad():
            base, _ = torch.linalg.qr(torch.randn(64, self.z_dim))
            self.layer.weight.copy_(base * torch.tensor(lengths) @ (torch.eye(self.z_dim) if turn is None else turn))

    def forward(self, z: Tensor) -> Tensor:
        return self.layer(z).view(-1, 1, 8, 8)


class Synthesis(nn.Module):
    """Three layers, each modulated by a style of its own; noise follows the latent, or is a fixed one."""

    def __init__(self, w: int) -> None:
        super().__init__()
        self.layers = 3
        self.affine = nn.ModuleList([nn.Linear(w, 8) for _ in range(3)])
        self.conv = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])
        self.start = nn.Parameter(torch.randn(8))
        self.out = nn.Linear(8, 64)

    def forward(self, w: Tensor, z: Tensor | None = None) -> Tensor:
        styles = w if w.dim() == 3 else w.unsqueeze(1).expand(-1, 3, -1)
        h = self.start.expand(len(w), -1)
        for i in range(3):
            h = torch.tanh(self.conv[i](h * (1 + 4 * self.affine[i](styles[:, i]))))
        noise = torch.zeros(len(w), 8) if z is None else normal_of(z, (8,), key=("toy", "noise"))
        return torch.tanh(self.out(h + 0.02 * noise)).view(-1, 1, 8, 8)


class Styled(nn.Module):
    """What a style generator offers, in its smallest form."""

    def __init__(self, z: int = 5, w: int = 7, classes: int = 0) -> None:
        super().__init__()
        self.z_dim = z
        self.embed = nn.Embedding(classes, z) if classes else None
        self.body = nn.Sequential(nn.Linear(z, 16), nn.Tanh(), nn.Linear(16, w))
        self.synthesis = Synthesis(w)
        self.register_buffer("w_mean", torch.randn(w) / 10)

    def mapping(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.body(z if self.embed is None else z + self.embed(y))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.synthesis(self.mapping(z, y), z)


class Judge(nn.Module):
    """A critic that is told the class."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(64, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.body(x.flatten(1)).squeeze(1) + 0 * y


def conditional(G: nn.Module, spec: Spec = SPEC) -> Model:
    return Model(Classic(spec, G=G, D=Judge(), conditional=True), spec, {})
