"""Multilayer perceptrons: the networks of the first paper, for images and for points."""

from __future__ import annotations

import itertools
import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.game import Spec
from gantlet.core.registry import critic, generator
from gantlet.nets.layers import spectrally_normalised

Width = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Hidden = Annotated[tuple[Width, ...], Field(max_length=64)]


def _layers(widths: list[int], *, slope: float) -> list[nn.Module]:
    """Linear layers with leaky rectifiers between them, none after the last."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        layers += [nn.LeakyReLU(slope)] if i else []
        layers.append(nn.Linear(a, b))
    return layers


@generator.named("mlp")
class MLPGenerator(nn.Module):
    """z -> hidden layers -> sample, tanh at the end for images (Goodfellow et al. 2014: 100-...-784)."""

    def __init__(self, spec: Spec, *, z: Width = 100, hidden: Hidden = (256,), slope: float = 0.2) -> None:
        super().__init__()
        self.z_dim = z
        self.shape = spec.shape
        self.body = nn.Sequential(*_layers([z, *hidden, math.prod(spec.shape)], slope=slope))
        self.bounded = len(spec.shape) == 3

    def forward(self, z: Tensor) -> Tensor:
        x: Tensor = self.body(z).view(z.shape[0], *self.shape)
        return torch.tanh(x) if self.bounded else x


@critic.named("mlp")
class MLPCritic(nn.Module):
    """Sample -> hidden layers -> one logit [N]."""

    def __init__(
        self, spec: Spec, *, hidden: Hidden = (256,), slope: float = 0.2, dropout: Share = 0.0, spectral: bool = False
    ) -> None:
        super().__init__()
        layers = _layers([math.prod(spec.shape), *hidden, 1], slope=slope)
        if dropout:
            layers = [x for m in layers for x in ([m, nn.Dropout(dropout)] if isinstance(m, nn.LeakyReLU) else [m])]
        self.body = nn.Sequential(*layers)
        if spectral:
            spectrally_normalised(self.body)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body(x.flatten(1)).squeeze(1)
        return logits
