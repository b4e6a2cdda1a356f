"""Residual networks: of WGAN-GP, of SNGAN with and without projection, and with self-attention of SAGAN."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Verdict
from gantlet.core.game import Spec
from gantlet.core.registry import critic, generator
from gantlet.nets.layers import (
    ConditionalNorm,
    Crop,
    DownBlock,
    Projection,
    SelfAttention,
    UpBlock,
    attended,
    halvings,
    image_shape,
    initialise,
    known,
    norm_by_class,
    spectrally_normalised,
)

Width = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=2)]


@generator.named("resnet")
class ResNetGenerator(nn.Module):
    """z -> a map of about 4 x 4 -> residual blocks, each twice as large -> batch norm, ReLU, 3 x 3 convolution, tanh
    (Miyato et al. 2018, tables 4-6; Gulrajani et al. 2017, appendix).

    Told a class, every norm in a block has a gain and a bias for each. `width` channels at the end, doubled towards the
    start up to `widest`: the paper's 32 x 32 is 256 and 256, its 48 x 48 is 64 and 512, its 128 x 128 is 64 and 1024.
    With `spectral` and `attention` it is SAGAN's (Zhang et al. 2019).
    """

    def __init__(
        self,
        spec: Spec,
        *,
        z: Width = 128,
        width: Width = 64,
        widest: Width = 1024,
        batch_norm: bool = True,
        spectral: bool = False,
        attention: Side | None = None,  # on the largest map of at most this side, short of the image itself; null: none
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "resnet")
        k = halvings(h, w)
        self.z_dim, self.classes = z, spec.classes
        widths = [min(width * 2 ** (k - i), widest) for i in range(k + 1)]
        self.start = (widths[0], -(-h // 2**k), -(-w // 2**k))
        self.project = nn.Linear(z, math.prod(self.start))
        norm = norm_by_class(spec.classes, batch_norm=batch_norm)
        self.blocks = nn.ModuleList(UpBlock(a, b, norm) for a, b in itertools.pairwise(widths))
        self.place = -1 if attention is None else attended([min(self.start[1:]) * 2**i for i in range(k)], attention)
        self.attention = None if attention is None else SelfAttention(widths[self.place])
        self.norm = ConditionalNorm(widths[-1], batch_norm=batch_norm)  # the last one is the same for all classes
        self.image = nn.Conv2d(widths[-1], c, 3, 1, 1)
        self.crop = Crop(h, w)
        glorot(self)
        if spectral:
            spectrally_normalised(self, steady=True)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        y = known(y, self.classes)
        x = self.project(z).view(-1, *self.start)
        for i, block in enumerate(self.blocks):
            if self.attention is not None and i == self.place:
                x = self.attention(x)
            x = block(x, y)
        return torch.tanh(self.crop(self.image(F.relu(self.norm(x)))))


@critic.named("resnet")
class ResNetCritic(nn.Module):
    """Residual blocks, each half as large, then some of one size, ReLU, a sum over places, w . h + b + h . v_y -> [N]
    (Miyato et al. 2018, tables 4-6; Miyato and Koyama 2018; Gulrajani et al. 2017, appendix).

    `width` channels after the first block, doubled block by block up to `widest`: the paper's 32 x 32 has 128 and 128,
    `smallest=7` and two plain blocks, its 48 x 48 64 and 1024 with `smallest=3`, its 128 x 128 64 and 1024. Told a
    class, it projects on it.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        width: Width = 64,
        widest: Width = 1024,
        smallest: Side = 4,  # side under which a map is not halved again
        plain: Annotated[int, Field(ge=0)] = 1,  # blocks of one size at the end
        spectral: bool = False,
        layer_norm: bool = False,  # what WGAN-GP's larger critics have: a penalty on each image alone rules out batch norm
        attention: Side | None = None,  # on the largest map of at most this side; null: none
        wide: bool = False,  # channels grow in a block's first convolution (Brock et al. 2019), not in its second
        pool: Literal["sum", "mean"] = "sum",  # over places; WGAN-GP's is the mean
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "resnet")
        downs = halvings(h, w, smallest=smallest)
        widths = [c, *(min(width * 2**i, widest) for i in range(downs + plain))]
        self.blocks = nn.ModuleList(
            DownBlock(a, b, down=i < downs, first=i == 0, wide=wide, layer_norm=layer_norm)
            for i, (a, b) in enumerate(itertools.pairwise(widths))
        )
        sides = [min(h, w) >> (i + 1) for i in range(downs)]
        self.place = -1 if attention is None else attended(sides, attention)
        self.attention = None if attention is None else SelfAttention(widths[self.place + 1])
        self.pool = pool
        self.head = Projection(widths[-1], spec.classes)
        glorot(self)
        if spectral:
            spectrally_normalised(self, embeddings=True)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Verdict:
        features = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if self.attention is not None and i == self.place:
                x = self.attention(x)
            features.append(x)
        h = pooled(x, self.pool)
        return Verdict(self.head(h, y), [*features, h])


def pooled(x: Tensor, pool: str) -> Tensor:
    """Rectified and summed or averaged over places, [N, C, H, W] -> [N, C]."""
    x = F.relu(x).flatten(2)
    return x.sum(2) if pool == "sum" else x.mean(2)


def glorot(net: nn.Module) -> None:
    """Glorot's uniform weights, sqrt 2 as large in residual branches, whose inputs a ReLU halves (Miyato et al. 2018)."""
    initialise(net, nn.init.xavier_uniform_)
    for block in net.modules():
        if isinstance(block, UpBlock | DownBlock):
            initialise(nn.ModuleList([block.conv1, block.conv2]), partial(nn.init.xavier_uniform_, gain=math.sqrt(2)))
