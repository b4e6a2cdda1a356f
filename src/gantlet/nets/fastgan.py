"""FastGAN's networks: light enough to learn from a hundred images in hours (Liu et al. 2021)."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Verdict
from gantlet.core.game import Spec
from gantlet.core.held import Drawing
from gantlet.core.registry import critic, generator
from gantlet.nets.layers import Crop, halvings, image_shape, initialise, spectrally_normalised

Width = Annotated[int, Field(ge=1)]
# channels of the map with side 4, 8, 16, ... as multiples of `width`: at 64 the paper's 1024, 512, 256, 128, 128, 64, ...
SHARES = (16.0, 8.0, 4.0, 2.0, 2.0, 1.0, 0.5, 0.25, 0.125)
SPAN = 4  # doublings a skip excites across: 8 -> 128, 16 -> 256, 32 -> 512
SLOPE = 0.2


class Excite(nn.Module):
    """y = x_high * sigmoid(W2 a(W1 pool(x_low))): channels of a large map scaled by what a small one says (eq. 2).

    x_low [N, A, h, w] is averaged to 4 x 4, which W1 reads whole; x_high [N, B, H, W] of any size.
    """

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.AdaptiveAvgPool2d(4),
            nn.Conv2d(low, high, 4),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(high, high, 1),
            nn.Sigmoid(),
        )

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        out: Tensor = high * self.body(low)
        return out


class Up(Drawing):
    """(Twice the size, 3 x 3, norm, GLU); a noisy one has a second 3 x 3, norm, GLU, each with noise added before its norm.

    Noise is one map for all channels, times a learned number that begins at zero; it follows z, unless it is held.
    """

    def __init__(self, a: int, b: int, *, noisy: bool, batch_norm: bool, place: int) -> None:
        super().__init__()
        counts = [(a, 2 * b), (b, 2 * b)] if noisy else [(a, 2 * b)]
        self.layers = nn.ModuleList(nn.Conv2d(i, o, 3, 1, 1, bias=not batch_norm) for i, o in counts)
        self.norms = nn.ModuleList(nn.Sequential(*_norm(o, batch_norm)) for _, o in counts)
        self.loudness = nn.Parameter(torch.zeros(len(counts))) if noisy else None
        self.place = place

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            x = layer(x)
            if self.loudness is not None:
                noise = self.drawn(z, (1, *x.shape[2:]), ("fastgan", "noise", self.place, i), x.device)
                x = x + self.loudness[i].to(x) * noise.to(x)
            x = F.glu(norm(x), 1)
        return x


@generator.named("fastgan")
class FastGANGenerator(nn.Module):
    """z -> 4 x 4 -> (twice the size, 3 x 3 convolution, batch norm, gated linear unit)* -> 3 x 3 -> tanh, small maps
    exciting the channels of maps sixteen times as large (Liu et al. 2021, arXiv:2101.04775, figure 3).

    Every second doubling has its layers twice, with noise. Below 128 pixels, where the paper has no such pair, the first
    map excites the last. What the doublings overshoot is cropped.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        z: Width = 256,
        width: Width = 64,  # channels at a side of 128; the paper's
        widest: Width = 1024,
        skips: bool = True,  # skip-layer excitation
        batch_norm: bool = True,
        spectral: bool = False,  # of every layer; batch norm undoes its scale but not its direction
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "fastgan")
        k = halvings(h, w)
        self.z_dim = z
        widths = [_channels(width, widest, i) for i in range(k + 1)]
        self.start = (2 * widths[0], -(-h // 2**k), -(-w // 2**k))
        self.project = nn.Linear(z, math.prod(self.start), bias=not batch_norm)
        self.first = nn.Sequential(*_norm(self.start[0], batch_norm), nn.GLU(1))
        self.ups = nn.ModuleList(
            Up(widths[i], widths[i + 1], noisy=i % 2 == 0, batch_norm=batch_norm, place=i) for i in range(k)
        )
        pairs = _skips(k) if skips else {}
        self.sources = {high: low for low, high in pairs.items()}
        self.excite = nn.ModuleDict({str(j): Excite(widths[i], widths[j]) for i, j in pairs.items()})
        self.paint = nn.Conv2d(widths[-1], c, 3, 1, 1)
        self.crop = Crop(h, w)
        initialise(self, nn.init.kaiming_normal_)
        if spectral:
            spectrally_normalised(self, steady=True)

    def forward(self, z: Tensor) -> Tensor:
        maps = [self.first(self.project(z).view(-1, *self.start))]
        for i, up in enumerate(self.ups):
            x = up(maps[-1], z)
            low = self.sources.get(i + 1)
            maps.append(x if low is None else self.excite[str(i + 1)](maps[low], x))
        return torch.tanh(self.crop(self.paint(maps[-1])))


class Down(nn.Module):
    """Half the size: the mean of two convolutions (4 x 4 strided, 3 x 3) and of averaging with a 1 x 1 (figure 4)."""

    def __init__(self, a: int, b: int, *, batch_norm: bool) -> None:
        super().__init__()
        bias = not batch_norm
        self.main = nn.Sequential(
            nn.Conv2d(a, b, 4, 2, 1, bias=bias), *_norm(b, batch_norm), nn.LeakyReLU(SLOPE),
            nn.Conv2d(b, b, 3, 1, 1, bias=bias), *_norm(b, batch_norm), nn.LeakyReLU(SLOPE),
        )  # fmt: skip
        self.direct = nn.Sequential(
            nn.AvgPool2d(2), nn.Conv2d(a, b, 1, bias=bias), *_norm(b, batch_norm), nn.LeakyReLU(SLOPE)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (self.main(x) + self.direct(x)) / 2
        return out


class Tower(nn.Module):
    """3 x 3 -> Down* until a side of 8 -> a map of patch logits; answers the maps of all sizes and the logits' mean."""

    def __init__(self, shape: tuple[int, int, int], *, width: int, widest: int, batch_norm: bool) -> None:
        super().__init__()
        c, h, w = shape
        k = halvings(h, w, smallest=8) if min(h, w) >= 4 else 0  # the small image of a small image is as it is
        self.widths = [_channels(width, widest, k - i + 1) for i in range(k + 1)]
        self.stem = nn.Sequential(nn.Conv2d(c, self.widths[0], 3, 1, 1), nn.LeakyReLU(SLOPE))
        self.downs = nn.ModuleList(Down(a, b, batch_norm=batch_norm) for a, b in itertools.pairwise(self.widths))
        last = self.widths[-1]
        kernel = (min(4, h >> k), min(4, w >> k))
        self.say = nn.Sequential(
            nn.Conv2d(last, last, 1, bias=not batch_norm), *_norm(last, batch_norm), nn.LeakyReLU(SLOPE),
            nn.Conv2d(last, 1, kernel),
        )  # fmt: skip

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        maps = [self.stem(x)]
        for down in self.downs:
            maps.append(down(maps[-1]))
        return maps, self.say(maps[-1]).flatten(1).mean(1)


@critic.named("fastgan")
class FastGANCritic(nn.Module):
    """Residual halvings of the image and of itself at half the size, each down to a map of patch logits; the logit [N] is
    their mean (Liu et al. 2021, arXiv:2101.04775, figure 4).

    The mean is taken before the loss, a choice: the paper's hinge is of each patch, which lets a patch that is told well
    rest while others learn; a logit for each row is what relativistic losses, labels and all tricks can play with.

    `decodable` names the maps (place among the features, channels, halvings) that the paper's decoders read: whole images
    from the last (8 x 8), quarters from the one before (16 x 16).
    """

    def __init__(
        self,
        spec: Spec,
        *,
        width: Width = 64,
        widest: Width = 1024,
        batch_norm: bool = True,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "fastgan")
        tower = partial(Tower, width=width, widest=widest, batch_norm=batch_norm)
        self.large, self.small = tower((c, h, w)), tower((c, h // 2, w // 2))
        last = len(self.large.widths) - 1
        self.decodable = tuple((i, self.large.widths[i], i) for i in (last, last - 1))
        initialise(self, nn.init.kaiming_normal_)
        if spectral:
            spectrally_normalised(self)

    def forward(self, x: Tensor) -> Verdict:
        large, a = self.large(x)
        small, b = self.small(F.avg_pool2d(x, 2))
        return Verdict((a + b) / 2, [*large, *small])


def _channels(width: int, widest: int, place: int) -> int:
    """Of the map with side 4 * 2^place."""
    share = SHARES[min(place, len(SHARES) - 1)]
    return max(1, min(int(width * share), widest))


def _skips(k: int) -> dict[int, int]:
    """Which of the k + 1 maps, from small to large, excites which."""
    found = {i: i + SPAN for i in range(1, 4) if i + SPAN <= k}
    return found or {0: k}


def _norm(channels: int, wanted: bool) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels)] if wanted else []
