"""Progressive growing: networks of plain blocks, one resolution each, that may be grown one by one."""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Verdict
from gantlet.core.game import Spec
from gantlet.core.registry import critic, generator
from gantlet.nets.equalised import ROOT2, SLOPE, EqualConv2d, EqualLinear, PixelNorm, pixel_norm
from gantlet.nets.growth import Grid, Growth, nearest, painted
from gantlet.nets.layers import Crop, halvings, image_shape, known
from gantlet.nets.mapping import ClassHead
from gantlet.nets.resample import HalvingConv
from gantlet.nets.spread import Spread

Width = Annotated[int, Field(ge=1)]


def widths_of(doublings: int, width: int, widest: int) -> list[int]:
    """Channels of the maps from the smallest to the full size."""
    return [min(width * 2 ** (doublings - i), widest) for i in range(doublings + 1)]


@generator.named("progan")
class ProGANGenerator(nn.Module):
    """z on the sphere -> a small map -> (nearest neighbour x 2, 3 x 3 convolution, leaky rectifier, pixel norm, twice)* ->
    1 x 1 convolution, at an equalised learning rate (Karras et al. 2018, table 2).

    The last layer is linear: what reaches beyond -1..1 is clamped where samples are looked at. At 1024 x 1024 with
    `z=512, width=16, widest=512` it is the paper's. The trick `growing` grows it; alone it is full-grown. Told the class,
    an embedding of it stands beside z.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        z: Width = 512,
        width: Width = 32,  # channels of the full size; doubled with each halving
        widest: Width = 512,
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "progan")
        self.grid = Grid(h, w, halvings(h, w))
        k, start = self.grid.doublings, self.grid.start
        self.widths = widths_of(k, width, widest)
        self.z_dim, self.channels, self.classes = z, c, spec.classes
        self.embed = nn.Embedding(spec.classes, z) if spec.classes else None
        self.start = _Start(z * (2 if spec.classes else 1), self.widths[0], start)
        self.blocks = nn.ModuleList(
            nn.Sequential(*_layer(a, b), *_layer(b, b)) for a, b in zip(self.widths, self.widths[1:])
        )
        self.paints = nn.ModuleDict({str(k): EqualConv2d(self.widths[k], c, 1)})  # to colours, by doublings
        self.growth: Growth | None = None
        self.crop = Crop(h, w)

    def grow(self) -> Growth:
        """From here on as grown as the answer is told: begins with the smallest map."""
        self.growth = Growth(self.grid.doublings)
        lower = self.widths[: self.grid.doublings]
        self.paints.update({str(i): EqualConv2d(n, self.channels, 1) for i, n in enumerate(lower)})
        return self.growth

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        h, y = pixel_norm(z), known(y, self.classes)
        if self.embed is not None and y is not None:
            h = torch.cat([h, pixel_norm(self.embed(y)).to(h.dtype)], 1)
        k = self.grid.doublings
        top, share = (k, 1.0) if self.growth is None else self.growth()
        before = h = self.start(h)
        for i in range(top):
            before, h = h, self.blocks[i](nearest(h))
        x: Tensor = self.crop(painted(self.paints, h, before, top=top, share=share, doublings=k))
        return x


@critic.named("progan")
class ProGANCritic(nn.Module):
    """The generator's mirror: 1 x 1 convolution, (3 x 3 convolution, leaky rectifier, twice, halved)*, a dense layer, one
    logit, at an equalised learning rate (Karras et al. 2018, table 2).

    Images are repeated at their border up to a whole number of halvings. Told the class, the logit is a projection on its
    embedding. While it is being grown (the trick `growing`) it looks at means of squares of pixels.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        width: Width = 32,
        widest: Width = 512,
        minibatch_std: bool = False,  # one more channel before the last convolution; the paper's critic has it
        group: Annotated[int, Field(ge=2)] | None = 4,  # rows that statistic is taken over; null: the batch
        filtered: bool = False,  # halve as StyleGAN's critic does: its [1, 2, 1] and the mean of pairs are one [1, 3, 3, 1]
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "progan")
        self.grid = Grid(h, w, halvings(h, w))
        k, start = self.grid.doublings, self.grid.start
        self.widths, self.channels = widths_of(k, width, widest), c
        n = self.widths[0]
        self.reads = nn.ModuleDict({str(k): _read(c, self.widths[k])})  # from colours, by doublings
        self.blocks = nn.ModuleList(_halved(b, a, filtered) for a, b in zip(self.widths, self.widths[1:]))
        self.spread = MinibatchStd(group) if minibatch_std else None
        self.last = nn.Sequential(
            EqualConv2d(n + minibatch_std, n, 3, gain=ROOT2), nn.LeakyReLU(SLOPE), nn.Flatten(),
            EqualLinear(n * math.prod(start), n, gain=ROOT2), nn.LeakyReLU(SLOPE),
        )  # fmt: skip
        self.head = ClassHead(n, classes=spec.classes, layers=0)
        self.growth: Growth | None = None

    def grow(self) -> Growth:
        """From here on as grown as the answer is told: begins with the smallest map."""
        self.growth = Growth(self.grid.doublings)
        lower = self.widths[: self.grid.doublings]
        self.reads.update({str(i): _read(self.channels, n) for i, n in enumerate(lower)})
        return self.growth

    def faded(self, x: Tensor) -> Tensor:
        """Reals [N, C, H, W] as the generator could draw them in the middle of a fade: the same mixture of two sizes."""
        top, share = (0, 1.0) if self.growth is None else self.growth()
        if share == 1:
            return x
        times = 2 ** (self.grid.doublings - top)
        small, large = self.grid.cells(x, 2 * times), self.grid.cells(x, times)
        return self.grid.squares(torch.lerp(nearest(small), large, share), times)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Verdict:
        k = self.grid.doublings
        top, share = (k, 1.0) if self.growth is None else self.growth()
        x = self.grid.cells(x, 2 ** (k - top))
        h, features = self.reads[str(top)](x), []
        for i in range(top, 0, -1):
            h = self.blocks[i - 1](h)
            if i == top and share < 1:
                h = torch.lerp(self.reads[str(i - 1)](F.avg_pool2d(x, 2)), h, share)
            features.append(h)
        h = self.last(h if self.spread is None else self.spread(h))
        return Verdict(self.head(h, y), [*features, h])


class MinibatchStd(nn.Module):
    """A map with one more channel, the spread of its group of rows. [N, C, H, W] -> [N, C + 1, H, W]."""

    couples_batch = True

    def __init__(self, group: int | None) -> None:
        super().__init__()
        self.spread = Spread(group, "D.minibatch_std")

    def forward(self, h: Tensor) -> Tensor:
        found = self.spread(h.to(torch.promote_types(h.dtype, torch.float32))).to(h.dtype)
        return torch.cat([h, found.view(-1, 1, 1, 1).expand(-1, 1, *h.shape[2:])], 1)


class _Start(nn.Module):
    """z -> a map [C, h, w] -> 3 x 3 convolution, each with its rectifier and pixel norm."""

    def __init__(self, z: int, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.shape = (channels, *size)
        # the paper's is a convolution over the whole window, whose places count as inputs
        self.project = EqualLinear(z, math.prod(self.shape), bias=False, gain=ROOT2 / math.sqrt(math.prod(size)))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))
        self.rest = nn.Sequential(nn.LeakyReLU(SLOPE), PixelNorm(), *_layer(channels, channels))

    def forward(self, z: Tensor) -> Tensor:
        h = self.project(z).view(-1, *self.shape)
        made: Tensor = self.rest(h + self.bias.to(h.dtype))
        return made


def _layer(inputs: int, outputs: int) -> list[nn.Module]:
    return [EqualConv2d(inputs, outputs, 3, gain=ROOT2), nn.LeakyReLU(SLOPE), PixelNorm()]


def _read(channels: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(EqualConv2d(channels, outputs, 1, gain=ROOT2), nn.LeakyReLU(SLOPE))


def _halved(inputs: int, outputs: int, filtered: bool) -> nn.Sequential:
    last = HalvingConv(inputs, outputs, gain=ROOT2) if filtered else EqualConv2d(inputs, outputs, 3, gain=ROOT2)
    layers = [EqualConv2d(inputs, inputs, 3, gain=ROOT2), nn.LeakyReLU(SLOPE), last, nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers) if filtered else nn.Sequential(*layers, nn.AvgPool2d(2))
