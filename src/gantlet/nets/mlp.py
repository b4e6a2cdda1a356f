"""Multilayer perceptrons: the networks of the first paper, for images and for points."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Verdict
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.registry import critic, generator
from gantlet.nets.layers import initialise, judged, spectrally_normalised

Width = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Hidden = Annotated[tuple[Width, ...], Field(max_length=64)]


def _layers(widths: list[int], *, slope: float, batch_norm: bool = False) -> list[nn.Module]:
    """Linear layers with (batch norm and) leaky rectifiers between them, none after the last."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        layers += [*([nn.BatchNorm1d(a)] if batch_norm else []), nn.LeakyReLU(slope)] if i else []
        layers.append(nn.Linear(a, b, bias=not batch_norm or i == len(widths) - 2))
    return layers


@generator.named("mlp")
class MLPGenerator(nn.Module):
    """z -> hidden layers -> sample, tanh at the end for images (Goodfellow et al. 2014: 100-...-784).

    With `bits` the first layer also sees the signs of that many latents. A continuous map cannot leave the space between
    separate pieces of data empty (Khayatkhoei, Singh and Elgammal 2018); one that jumps where a latent changes sign can.
    """

    def __init__(
        self, spec: Spec, *, z: Width = 100, hidden: Hidden = (256,), slope: float = 0.2, batch_norm: bool = False,
        bits: Annotated[int, Field(ge=0)] = 0,  # at most z
        init_std: Annotated[float, Field(gt=0)] | None = None,  # null: torch's own initialisation
    ) -> None:  # fmt: skip
        super().__init__()
        if bits > z:
            raise InputError(f"G.bits={bits}: only {z} latents have a sign; use at most {z}, or a larger G.z")
        self.z_dim, self.bits = z, bits
        self.shape = spec.shape
        layers = _layers([z + bits, *hidden, math.prod(spec.shape)], slope=slope, batch_norm=batch_norm)
        self.body = nn.Sequential(*layers)
        if init_std is not None:
            initialise(self, partial(nn.init.normal_, std=init_std))
        self.bounded = len(spec.shape) == 3

    def forward(self, z: Tensor) -> Tensor:
        if self.bits:
            z = torch.cat([z, torch.where(z[:, : self.bits] >= 0, 1.0, -1.0).to(z)], 1)
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

    def forward(self, x: Tensor) -> Verdict:
        return judged(self.body, x.flatten(1))
