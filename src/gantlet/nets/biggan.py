"""BigGAN."""

from __future__ import annotations

import itertools
import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Verdict
from gantlet.core.errors import InputError
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
    norm_by_vector,
    spectrally_normalised,
)

Width = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=2)]

# channels in multiples of `width`, by how often about 4 x 4 is doubled: of G's maps from the first on, of D's blocks
# (tables 4-6 for 128, 256 and 512; 64 is 128 without its last doubling; what is smaller is as wide throughout, as
# residual networks for CIFAR are: Miyato et al. 2018)
UP = {4: (16, 16, 8, 4, 2), 5: (16, 16, 8, 4, 2, 1), 6: (16, 16, 8, 8, 4, 2, 1), 7: (16, 16, 8, 8, 4, 2, 1, 1)}
DOWN = {4: (1, 2, 4, 8, 16), 5: (1, 2, 4, 8, 16, 16), 6: (1, 2, 4, 8, 8, 16, 16), 7: (1, 1, 2, 4, 8, 8, 16, 16)}
SMALL = 4  # of images under 64 x 64


def up_widths(k: int, width: int, widest: int) -> list[int]:
    """Channels of a generator's k + 1 maps."""
    table = UP.get(k) or ((SMALL,) * (k + 1) if k < min(UP) else UP[max(UP)] + (1,) * (k - max(UP)))
    return [min(width * m, widest) for m in table]


def down_widths(k: int, width: int, widest: int, *, small: int) -> list[int]:
    """Channels of a critic's k + 1 maps of images as large as k doublings make them; of `small` where they are small."""
    table = DOWN.get(k) or ((SMALL,) * small if k < min(DOWN) else (1,) * (k - max(DOWN)) + DOWN[max(DOWN)])
    return [min(width * m, widest) for m in table]


@generator.named("biggan")
class BigGANGenerator(nn.Module):
    """z in chunks, one for the first map and one for each residual block, whose norms are linear in it and the class's
    embedding; self-attention, spectral norm (Brock, Donahue and Simonyan 2019, tables 4-6).

    Weights begin orthogonal. 128 x 128 as in the paper is the default; there z is 140 for 256 x 256 and 160 for
    512 x 512, 20 a chunk.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        z: Width = 120,
        width: Width = 96,
        widest: Width = 1536,
        shared: Width = 128,  # the embedding of a class that all norms share
        skip_z: bool = True,  # false: all of z goes to the first map
        batch_norm: bool = True,
        spectral: bool = True,
        attention: Side | None = 64,  # on the largest map of at most this side, short of the image itself; null: none
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "biggan")
        k = halvings(h, w)
        if skip_z and z < k + 1:
            raise InputError(f"G.z={z}: the {k} blocks and the first map each take a part; use {k + 1} or more")
        widths = up_widths(k, width, widest)
        self.z_dim, self.classes = z, spec.classes
        self.chunks = _chunks(z, k + 1) if skip_z else [z, *[0] * k]
        self.start = (widths[0], -(-h // 2**k), -(-w // 2**k))
        told = shared if spec.classes else 0
        self.shared = nn.Embedding(spec.classes, shared) if spec.classes else None
        self.project = nn.Linear(self.chunks[0], math.prod(self.start))
        self.blocks = nn.ModuleList(
            UpBlock(a, b, norm_by_vector(told + chunk, batch_norm=batch_norm))
            for (a, b), chunk in zip(itertools.pairwise(widths), self.chunks[1:], strict=True)
        )
        self.place = -1 if attention is None else attended([min(self.start[1:]) * 2**i for i in range(k)], attention)
        self.attention = None if attention is None else SelfAttention(widths[self.place])
        self.norm = ConditionalNorm(widths[-1], batch_norm=batch_norm)  # the same for all classes
        self.image = nn.Conv2d(widths[-1], c, 3, 1, 1)
        self.crop = Crop(h, w)
        orthogonally(self)
        if spectral:
            spectrally_normalised(self, steady=True)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        y = known(y, self.classes)
        told = [] if self.shared is None else [self.shared(y)]
        first, *chunks = torch.split(z, self.chunks, 1)
        x = self.project(first).view(-1, *self.start)
        for i, (block, chunk) in enumerate(zip(self.blocks, chunks, strict=True)):
            if self.attention is not None and i == self.place:
                x = self.attention(x)
            x = block(x, torch.cat([*told, chunk], 1))
        return torch.tanh(self.crop(self.image(F.relu(self.norm(x)))))


@critic.named("biggan")
class BigGANCritic(nn.Module):
    """Residual blocks, each half as large, one of the last size, ReLU, a sum over places, w . h + b + h . v_y -> [N];
    self-attention, spectral norm (Brock, Donahue and Simonyan 2019, tables 4-6).

    Blocks widen in their first convolution; weights begin orthogonal. Images under 64 x 64 are halved to about 8 x 8,
    then two blocks keep that size (Miyato et al. 2018, table 4).
    """

    def __init__(
        self,
        spec: Spec,
        *,
        width: Width = 96,
        widest: Width = 1536,
        spectral: bool = True,
        attention: Side | None = 64,  # on the largest map of at most this side; null: none
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "biggan")
        k = halvings(h, w)
        downs = k if k >= min(DOWN) else halvings(h, w, smallest=7)
        widths = [c, *down_widths(k, width, widest, small=downs + 2)]
        self.blocks = nn.ModuleList(
            DownBlock(a, b, down=i < downs, first=i == 0, wide=True)
            for i, (a, b) in enumerate(itertools.pairwise(widths))
        )
        sides = [min(h, w) >> (i + 1) for i in range(downs)]
        self.place = -1 if attention is None else attended(sides, attention)
        self.attention = None if attention is None else SelfAttention(widths[self.place + 1])
        self.head = Projection(widths[-1], spec.classes)
        orthogonally(self)
        if spectral:
            spectrally_normalised(self, embeddings=True)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Verdict:
        features = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if self.attention is not None and i == self.place:
                x = self.attention(x)
            features.append(x)
        h = F.relu(x).sum((2, 3))
        return Verdict(self.head(h, y), [*features, h])


def _chunks(z: int, n: int) -> list[int]:
    """z in n nearly equal parts, the larger ones first."""
    return [z // n + (i < z % n) for i in range(n)]


def orthogonally(net: nn.Module) -> None:
    """Orthogonal weights and embeddings (Saxe, McClelland and Ganguli 2014), no biases."""
    initialise(net, nn.init.orthogonal_)
    for m in net.modules():
        if isinstance(m, nn.Embedding):
            nn.init.orthogonal_(m.weight)
