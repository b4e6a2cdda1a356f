"""Perceptrons that see sines of the sample: sharp features cost no depth."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Verdict
from gantlet.core.game import Spec
from gantlet.core.registry import critic
from gantlet.nets.layers import judged
from gantlet.nets.mlp import Hidden, _layers


@critic.named("fourier")
class FourierCritic(nn.Module):
    """Sample -> [x, cos 2 pi B x, sin 2 pi B x], B ~ N(0, scale^2) and fixed -> hidden layers -> one logit [N]
    (Tancik et al. 2020, "Fourier features let networks learn high frequency functions", eq. 5).

    For data whose detail is far finer than its extent: a mixture of narrow modes, a thin curve.
    """

    frequencies: Tensor

    def __init__(
        self,
        spec: Spec,
        *,
        hidden: Hidden = (128, 128, 128),
        features: Annotated[int, Field(ge=1, le=4096)] = 64,
        scale: Annotated[float, Field(gt=0)] = 1.0,  # frequencies per unit of the data: about 1 / (8 detail)
        slope: float = 0.2,
    ) -> None:
        super().__init__()
        size = math.prod(spec.shape)
        self.register_buffer("frequencies", scale * torch.randn(size, features))
        self.body = nn.Sequential(*_layers([size + 2 * features, *hidden, 1], slope=slope))

    def forward(self, x: Tensor) -> Verdict:
        x = x.flatten(1)
        angle = 2 * math.pi * (x @ self.frequencies)
        return judged(self.body, torch.cat([x, angle.cos(), angle.sin()], 1))
