"""Maxout networks."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Verdict
from gantlet.core.game import Spec
from gantlet.core.registry import critic
from gantlet.nets.layers import initialise, spectrally_normalised
from gantlet.nets.mlp import Hidden, Share

Std = Annotated[float, Field(gt=0)]


class Maxout(nn.Module):
    """max over `pieces` affine maps: h_i = max_j (x W_ij + b_ij) (Goodfellow et al. 2013, eq. 1)."""

    def __init__(self, inputs: int, outputs: int, pieces: int) -> None:
        super().__init__()
        self.outputs, self.pieces = outputs, pieces
        self.maps = nn.Linear(inputs, outputs * pieces)

    def forward(self, x: Tensor) -> Tensor:
        every: Tensor = self.maps(x)
        # not amax, which shares out ties: slower where it is differentiated twice
        return every.view(-1, self.outputs, self.pieces).max(2).values


@critic.named("maxout")
class MaxoutCritic(nn.Module):
    """Sample -> maxout layers -> one logit [N] (Goodfellow et al. 2013); the critic of the first GAN (2014) and of PacGAN's
    mixtures.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        hidden: Hidden = (200, 200, 200),
        pieces: Annotated[int, Field(ge=2, le=32)] = 5,
        dropout: Share = 0.0,  # of what every layer but the first reads; 0.5 in the first GAN
        input_dropout: Share = 0.0,  # of the sample; 0.2 there
        unit: bool = False,  # read pixels -1..1 as 0..1, as there: with SGD the scale of the input is one of the step
        init_std: Std | None = 0.02,  # as in the experiments of ALI, VEEGAN and PacGAN; null: torch's own
        spectral: bool = False,
    ) -> None:
        super().__init__()
        widths = [math.prod(spec.shape), *hidden]
        self.layers = nn.ModuleList(Maxout(a, b, pieces) for a, b in itertools.pairwise(widths))
        self.last = nn.Linear(widths[-1], 1)
        self.drop, self.input_drop, self.unit = nn.Dropout(dropout), nn.Dropout(input_dropout), unit
        if init_std is not None:
            initialise(self, partial(nn.init.normal_, std=init_std))
        if spectral:
            spectrally_normalised(self)

    def forward(self, x: Tensor) -> Verdict:
        x, features = x.flatten(1), []
        x = self.input_drop((1 + x) / 2 if self.unit else x)
        for layer in self.layers:
            features.append(layer(x))
            x = self.drop(features[-1])
        return Verdict(self.last(x).squeeze(1), features)
