"""Encoders: samples -> codes, the networks that look back at what a generator makes."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from gantlet.core.game import Spec
from gantlet.core.registry import encoder
from gantlet.nets.layers import halvings, image_shape, initialise
from gantlet.nets.mlp import Hidden, _layers

Width = Annotated[int, Field(ge=1)]
InitStd = Annotated[float, Field(gt=0)]
Slope = Annotated[float, Field(ge=0, lt=1)]


@encoder.named("mlp")
class MLPEncoder(nn.Module):
    """Sample, flattened -> hidden layers -> code [N, outputs], not bounded (Hinton and Salakhutdinov 2006, Science 313).

    Points and images alike; `outputs` is the code's width, or twice that where a game wants a mean and a variance.
    """

    def __init__(
        self,
        spec: Spec,
        outputs: int,
        *,
        hidden: Hidden = (256,),
        slope: Slope = 0.2,
        batch_norm: bool = False,
        init_std: InitStd | None = None,  # null: torch's own initialisation
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_layers([math.prod(spec.shape), *hidden, outputs], slope=slope, batch_norm=batch_norm)
        )
        _initialise(self, init_std)

    def forward(self, x: Tensor) -> Tensor:
        code: Tensor = self.body(x.flatten(1))
        return code


@encoder.named("dcgan")
class DCGANEncoder(nn.Module):
    """Strided 4 x 4 convolutions, each half as large and twice as wide, leaky rectifiers, a linear layer -> code
    [N, outputs], not bounded (DCGAN's critic turned encoder, as in Donahue et al. 2017 and Dumoulin et al. 2017).
    """

    def __init__(
        self,
        spec: Spec,
        outputs: int,
        *,
        width: Width = 64,
        widest: Width = 512,
        smallest: Annotated[int, Field(ge=2)] = 4,  # side under which a map is not halved again
        batch_norm: bool = True,
        slope: Slope = 0.2,
        init_std: InitStd | None = 0.02,  # as in DCGAN; null: torch's own initialisation
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "dcgan")
        k = halvings(h, w, smallest=smallest)
        widths = [c, *(min(width * 2**i, widest) for i in range(k))]
        layers: list[nn.Module] = []
        for i in range(k):
            norm = [nn.BatchNorm2d(widths[i + 1])] if batch_norm and i > 0 else []  # not after the first, as in DCGAN
            layers += [nn.Conv2d(widths[i], widths[i + 1], 4, 2, 1, bias=not norm), *norm, nn.LeakyReLU(slope)]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * (h >> k) * (w >> k), outputs))
        _initialise(self, init_std)

    def forward(self, x: Tensor) -> Tensor:
        code: Tensor = self.body(x)
        return code


def _initialise(module: nn.Module, std: float | None) -> None:
    if std is not None:
        initialise(module, partial(nn.init.normal_, std=std))
