"""Small convolutional networks without normalisation: what relativistic and penalised games want on one machine."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Verdict
from gantlet.core.game import Spec
from gantlet.core.registry import critic, generator
from gantlet.nets.layers import Crop, Double, halvings, image_shape, initialise, judged, spectrally_normalised

Width = Annotated[int, Field(ge=1)]
LEAK = 0.02  # slope of the generator's end where tanh is flat


@generator.named("cnn")
class CNNGenerator(nn.Module):
    """z -> a small map -> (twice the size, 3 x 3 convolution, leaky rectifier)* -> 3 x 3 convolution -> leaky tanh.

    A plain tanh dies on dark data: a few large steps push every pixel to -1, where it is flat. With a little of its
    input added it never is; what reaches beyond -1..1 is clamped where samples are looked at.
    """

    def __init__(
        self, spec: Spec, *, z: Width = 64, width: Width = 32, widest: Width = 256, batch_norm: bool = False,
        slope: float = 0.2,
    ) -> None:  # fmt: skip
        super().__init__()
        c, h, w = image_shape(spec, "cnn")
        k = halvings(h, w)
        self.z_dim = z
        widths = [min(width * 2 ** (k - i), widest) for i in range(k + 1)]
        self.start = (widths[0], -(-h // 2**k), -(-w // 2**k))
        self.project = nn.Sequential(
            nn.Linear(z, math.prod(self.start)), nn.Unflatten(1, self.start), *_norm(widths[0], batch_norm),
            nn.LeakyReLU(slope),
        )  # fmt: skip
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            layers += [Double(), nn.Conv2d(a, b, 3, 1, 1), *_norm(b, batch_norm), nn.LeakyReLU(slope)]
        self.body = nn.Sequential(*layers, nn.Conv2d(widths[-1], c, 3, 1, 1), Crop(h, w))
        initialise(self, partial(nn.init.kaiming_normal_, a=slope, nonlinearity="leaky_relu"))

    def forward(self, z: Tensor) -> Tensor:
        x: Tensor = self.body(self.project(z))
        return torch.tanh(x) + LEAK * x


@critic.named("cnn")
class CNNCritic(nn.Module):
    """3 x 3 convolution, (4 x 4 strided convolution, leaky rectifier)*, a linear layer, one logit [N]."""

    def __init__(
        self, spec: Spec, *, width: Width = 32, widest: Width = 256, spectral: bool = False, slope: float = 0.2
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "cnn")
        k = halvings(h, w)
        widths = [min(width * 2**i, widest) for i in range(k + 1)]
        layers: list[nn.Module] = [nn.Conv2d(c, widths[0], 3, 1, 1), nn.LeakyReLU(slope)]
        for a, b in itertools.pairwise(widths):
            layers += [nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(slope)]
        layers += [nn.Flatten(), nn.Linear(widths[-1] * (h >> k) * (w >> k), 1)]
        self.body = nn.Sequential(*layers)
        initialise(self, partial(nn.init.kaiming_normal_, a=slope, nonlinearity="leaky_relu"))
        if spectral:
            spectrally_normalised(self.body)

    def forward(self, x: Tensor) -> Verdict:
        return judged(self.body, x)


def _norm(channels: int, wanted: bool) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels)] if wanted else []
