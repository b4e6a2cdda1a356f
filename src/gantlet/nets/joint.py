"""A critic of pairs: is this code of this sample?"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Verdict
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.registry import critic
from gantlet.nets.layers import halvings, image_shape, initialise, spectrally_normalised

Width = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Slope = Annotated[float, Field(ge=0, lt=1)]


@critic.named("joint")
class JointCritic(nn.Module):
    """Strided convolutions of x beside a perceptron of z, both flat, concatenated -> one hidden layer -> one logit [N]
    (Dumoulin et al. 2017, table 4: D(x), D(z) and D(x, z)).

    It takes what the data's `spec.given` says a sample comes with: vectors [N, d] each, as many as are named there (none:
    it judges x alone). No normalisation by default: a pair is judged by itself.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        width: Width = 64,
        widest: Width = 512,
        dense: Width | None = None,  # of the perceptron of z, twice, and of what reads both; null: 8 width, at most 512
        dropout: Share = 0.0,  # 0.2 in the paper, before every layer but the first
        batch_norm: bool = False,
        spectral: bool = False,
        slope: Slope = 0.2,
        init_std: Annotated[float, Field(gt=0)] | None = 0.02,  # as in DCGAN; null: torch's own initialisation
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "joint")
        if any(len(shape) != 1 for shape in spec.given):
            raise InputError(f"network 'joint' takes vectors beside x, not {[list(shape) for shape in spec.given]}")
        k = halvings(h, w)
        dense = dense or min(512, 8 * width)  # 512 as the table's D(z); a narrow network is narrow throughout
        widths = [c, *(min(width * 2**i, widest) for i in range(k))]
        drop = [nn.Dropout(dropout)] if dropout else []
        layers: list[nn.Module] = []
        for i in range(k):
            norm = [nn.BatchNorm2d(widths[i + 1])] if batch_norm and i > 0 else []
            layers += [*(drop if i else []), nn.Conv2d(widths[i], widths[i + 1], 4, 2, 1, bias=not norm), *norm]
            layers.append(nn.LeakyReLU(slope))
        self.of_x = nn.Sequential(*layers, nn.Flatten())
        flat, z = widths[-1] * (h >> k) * (w >> k), sum(shape[0] for shape in spec.given)
        self.of_z = nn.Sequential(
            nn.Linear(z, dense), nn.LeakyReLU(slope), *drop, nn.Linear(dense, dense), nn.LeakyReLU(slope)
        ) if z else None  # fmt: skip
        self.of_both = nn.Sequential(*drop, nn.Linear(flat + (dense if z else 0), dense), nn.LeakyReLU(slope))
        self.last = nn.Sequential(*drop, nn.Linear(dense, 1))
        if init_std is not None:
            initialise(self, partial(nn.init.normal_, std=init_std))
        if spectral:
            spectrally_normalised(self)

    def forward(self, x: Tensor, *given: Tensor) -> Verdict:
        features = [self.of_x(x)]
        if self.of_z is not None:
            features.append(self.of_z(torch.cat(given, 1)))
        both = self.of_both(torch.cat(features, 1))
        return Verdict(self.last(both).squeeze(1), (*features, both))
