"""BigGAN-deep."""

from __future__ import annotations

import itertools
import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Verdict
from gantlet.core.game import Spec
from gantlet.core.registry import critic, generator
from gantlet.nets.biggan import down_widths, orthogonally, up_widths
from gantlet.nets.layers import (
    ConditionalNorm,
    Crop,
    Norm,
    Projection,
    SelfAttention,
    attended,
    halvings,
    image_shape,
    known,
    norm_by_vector,
    spectrally_normalised,
    twice,
)

Width = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=2)]
SQUEEZE = 4  # the convolutions inside a block are this much narrower than it


class DeepUp(nn.Module):
    """1 x 1 to a quarter of the channels, two 3 x 3, 1 x 1, a norm and a ReLU before each; `up` doubles before the first
    3 x 3. Beside it channels are dropped where fewer come out, and pixels repeated: nothing is learned there."""

    def __init__(self, a: int, b: int, norm: Norm, *, up: bool) -> None:
        super().__init__()
        m = max(1, a // SQUEEZE)
        self.up, self.kept = up, b
        self.norms = nn.ModuleList([norm(a), norm(m), norm(m), norm(m)])
        self.convs = nn.ModuleList(
            [nn.Conv2d(a, m, 1), nn.Conv2d(m, m, 3, 1, 1), nn.Conv2d(m, m, 3, 1, 1), nn.Conv2d(m, b, 1)]
        )

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        h = x
        for i, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            h = F.relu(norm(h, c))
            h = conv(twice(h) if self.up and i == 1 else h)
        x = x[:, : self.kept]
        return h + (twice(x) if self.up else x)


class DeepDown(nn.Module):
    """1 x 1 to a quarter of the channels, two 3 x 3, 1 x 1, a ReLU before each; `down` halves before the last. Beside it
    channels pass unchanged, and a 1 x 1 convolution adds those that are missing."""

    def __init__(self, a: int, b: int, *, down: bool) -> None:
        super().__init__()
        m = max(1, b // SQUEEZE)
        self.down = down
        self.convs = nn.ModuleList(
            [nn.Conv2d(a, m, 1), nn.Conv2d(m, m, 3, 1, 1), nn.Conv2d(m, m, 3, 1, 1), nn.Conv2d(m, b, 1)]
        )
        self.more = nn.Conv2d(a, b - a, 1) if b > a else None

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for i, conv in enumerate(self.convs):
            h = F.relu(h)
            h = conv(F.avg_pool2d(h, 2) if self.down and i == len(self.convs) - 1 else h)
        x = F.avg_pool2d(x, 2) if self.down else x
        return h + (x if self.more is None else torch.cat([x, self.more(x)], 1))


@generator.named("biggan-deep")
class BigGANDeepGenerator(nn.Module):
    """z and the class's embedding, whole, to the first map and to every batch norm; two bottlenecked residual blocks a
    size, the second doubling it; self-attention, spectral norm (Brock, Donahue and Simonyan 2019, tables 7-9).

    Weights begin orthogonal. The default is the paper's; its z is 128 at every size.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        z: Width = 128,
        width: Width = 128,
        widest: Width = 2048,
        shared: Width = 128,  # the embedding of a class that all layers share
        batch_norm: bool = True,
        spectral: bool = True,
        attention: Side | None = 64,  # on the largest map of at most this side, short of the image itself; null: none
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "biggan-deep")
        k = halvings(h, w)
        widths = up_widths(k, width, widest)
        self.z_dim, self.classes = z, spec.classes
        self.start = (widths[0], -(-h // 2**k), -(-w // 2**k))
        self.shared = nn.Embedding(spec.classes, shared) if spec.classes else None
        told = z + (shared if spec.classes else 0)
        self.project = nn.Linear(told, math.prod(self.start))
        norm = norm_by_vector(told, batch_norm=batch_norm)
        self.blocks = nn.ModuleList(
            nn.ModuleList([DeepUp(a, a, norm, up=False), DeepUp(a, b, norm, up=True)])
            for a, b in itertools.pairwise(widths)
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
        told = z if self.shared is None else torch.cat([self.shared(y), z], 1)
        x = self.project(told).view(-1, *self.start)
        for i, pair in enumerate(self.blocks):
            if self.attention is not None and i == self.place:
                x = self.attention(x)
            for block in pair:  # type: ignore[attr-defined]
                x = block(x, told)
        return torch.tanh(self.crop(self.image(F.relu(self.norm(x)))))


@critic.named("biggan-deep")
class BigGANDeepCritic(nn.Module):
    """3 x 3 convolution, two bottlenecked residual blocks a size, the first halving it, ReLU, a sum over places,
    w . h + b + h . v_y -> [N]; self-attention, spectral norm (Brock, Donahue and Simonyan 2019, tables 7-9).

    Weights begin orthogonal.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        width: Width = 128,
        widest: Width = 2048,
        spectral: bool = True,
        attention: Side | None = 64,  # on the largest map of at most this side; null: none
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "biggan-deep")
        k = halvings(h, w)
        widths = down_widths(k, width, widest, small=k + 1)
        self.stem = nn.Conv2d(c, widths[0], 3, 1, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(DeepDown(a, b, down=True), DeepDown(b, b, down=False)) for a, b in itertools.pairwise(widths)
        )
        sides = [min(h, w) >> (i + 1) for i in range(k)]
        self.place = -1 if attention is None else attended(sides, attention)
        self.attention = None if attention is None else SelfAttention(widths[self.place + 1])
        self.head = Projection(widths[-1], spec.classes)
        orthogonally(self)
        if spectral:
            spectrally_normalised(self, embeddings=True)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Verdict:
        x, features = self.stem(x), []
        for i, pair in enumerate(self.blocks):
            x = pair(x)
            if self.attention is not None and i == self.place:
                x = self.attention(x)
            features.append(x)
        h = F.relu(x).sum((2, 3))
        return Verdict(self.head(h, y), [*features, h])
