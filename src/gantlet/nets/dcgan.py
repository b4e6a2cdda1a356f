"""DCGAN for any height, width and channel count (Radford, Metz and Chintala 2016)."""

from __future__ import annotations

import itertools
import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Verdict
from gantlet.core.game import Spec
from gantlet.core.registry import critic, generator
from gantlet.nets.layers import Crop, halvings, image_shape, initialise, judged, spectrally_normalised

Width = Annotated[int, Field(ge=1)]
InitStd = Annotated[float, Field(gt=0)]


@generator.named("dcgan")
class DCGANGenerator(nn.Module):
    """z -> a small map -> strided transposed convolutions, each twice as large and half as wide -> tanh.

    The first map is about 4 x 4: ceil(H / 2^k) x ceil(W / 2^k); what the doublings overshoot is cropped. At 64 x 64
    with `width=128` it is the paper's figure 1.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        z: Width = 100,
        width: Width = 64,  # channels before the last layer; doubled towards the first
        base: Width | None = None,  # channels of the first map, when a 3 x 3 convolution follows it
        batch_norm: bool = True,
        slope: float = 0.0,  # of the rectifiers, below zero
        init_std: InitStd | None = 0.02,  # null: torch's own initialisation
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "dcgan")
        k = halvings(h, w)
        self.z_dim = z
        widths = [width * 2 ** (k - 1 - i) for i in range(k)]
        self.start = (base or widths[0], -(-h // 2**k), -(-w // 2**k))
        self.project = nn.Linear(z, math.prod(self.start), bias=not batch_norm)
        layers: list[nn.Module] = [*_norm(self.start[0], batch_norm), _rectifier(slope)]
        if base is not None:
            layers += [nn.Conv2d(base, widths[0], 3, 1, 1), *_norm(widths[0], batch_norm), _rectifier(slope)]
        for a, b in itertools.pairwise(widths):
            layers += [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=not batch_norm), *_norm(b, batch_norm)]
            layers.append(_rectifier(slope))
        layers += [nn.ConvTranspose2d(widths[-1], c, 4, 2, 1), Crop(h, w)]
        self.body = nn.Sequential(*layers)
        _initialise(self, init_std)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.body(self.project(z).view(-1, *self.start)))


@critic.named("dcgan")
class DCGANCritic(nn.Module):
    """Strided convolutions, each half as large and twice as wide, leaky rectifiers, one logit [N]."""

    def __init__(
        self,
        spec: Spec,
        *,
        width: Width = 64,
        smallest: Annotated[int, Field(ge=2)] = 4,  # side under which a map is not halved again
        dense: Width | None = None,  # units of a layer before the logit
        batch_norm: bool = True,
        spectral: bool = False,
        slope: float = 0.2,
        init_std: InitStd | None = 0.02,  # null: torch's own initialisation
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "dcgan")
        k = halvings(h, w, smallest=smallest)
        layers: list[nn.Module] = []
        for i in range(k):
            a, b = (width * 2 ** (i - 1) if i else c), width * 2**i
            norm = _norm(b, batch_norm and i > 0)  # not after the input layer, as in the paper
            layers += [nn.Conv2d(a, b, 4, 2, 1, bias=not norm), *norm, nn.LeakyReLU(slope)]
        flat = b * (h >> k) * (w >> k)
        if dense is not None:
            layers += [nn.Flatten(), nn.Linear(flat, dense), nn.LeakyReLU(slope), nn.Linear(dense, 1)]
        else:
            layers += [nn.Flatten(), nn.Linear(flat, 1)]
        self.body = nn.Sequential(*layers)
        _initialise(self, init_std)
        if spectral:
            spectrally_normalised(self.body)

    def forward(self, x: Tensor) -> Verdict:
        return judged(self.body, x)


def _norm(channels: int, wanted: bool) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels)] if wanted else []


def _rectifier(slope: float) -> nn.Module:
    return nn.LeakyReLU(slope) if slope else nn.ReLU()


def _initialise(module: nn.Module, std: float | None) -> None:
    if std is not None:
        initialise(module, lambda weight: nn.init.normal_(weight, std=std))
