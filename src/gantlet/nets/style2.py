"""StyleGAN2: modulated convolutions, an image summed over sizes, a residual critic."""

from __future__ import annotations

import itertools
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Verdict
from gantlet.core.game import Spec
from gantlet.core.registry import critic, generator
from gantlet.nets.equalised import ROOT2, EqualConv2d, EqualLinear, Leaky
from gantlet.nets.growth import Grid
from gantlet.nets.layers import Crop, halvings, image_shape
from gantlet.nets.mapping import ClassHead, MappingNetwork, Noise, demodulation, styles
from gantlet.nets.progan import MinibatchStd, Width, widths_of
from gantlet.nets.resample import HalvingConv, blurred_down, blurred_up, convolved_up
from gantlet.nets.style import Layers, Mixing


@generator.named("style2")
class Style2Generator(nn.Module):
    """z -> w by eight layers; a learnt map -> (3 x 3 convolution modulated by w and demodulated, noise, leaky rectifier)*,
    the image a sum of 1 x 1 convolutions of each size (Karras et al. 2020, arXiv:1912.04958, configuration F).

    The image is linear: what reaches beyond -1..1 is clamped where samples are looked at. `mapping(z, y)` gives w,
    `synthesis(w, z)` the image, `w_mean` is where styles are truncated to. At 1024 x 1024 with `width=32` it is the
    paper's.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        z: Width = 512,
        w: Width = 512,
        width: Width = 32,  # channels of the full size; doubled with each halving
        widest: Width = 512,
        mapping_layers: Layers = 8,
        mixing: Mixing = 0.9,  # share of rows that are trained with two styles; the paper's
    ) -> None:
        super().__init__()
        c, height, breadth = image_shape(spec, "style2")
        grid = Grid(height, breadth, halvings(height, breadth))
        self.z_dim, self.mixing = z, mixing
        self.mapping = MappingNetwork(z, w, layers=mapping_layers, classes=spec.classes)
        self.synthesis = Synthesis(w, grid, widths_of(grid.doublings, width, widest), c)

    @property
    def w_mean(self) -> Tensor:
        """The running mean of w, [w]: what styles are truncated towards."""
        return self.mapping.w_mean

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        w = styles(self.mapping, z, y, layers=self.synthesis.layers, mixing=self.mixing)
        made: Tensor = self.synthesis(w, z)
        return made


class Synthesis(nn.Module):
    """Styles w [N, w] or [N, layers, w] -> images [N, C, H, W]; noise follows from z and is a fixed one without."""

    def __init__(self, w: int, grid: Grid, widths: list[int], channels: int) -> None:
        super().__init__()
        k = grid.doublings
        self.layers = 2 * k + 2
        self.start = nn.Parameter(torch.randn(widths[0], *grid.start))
        self.convs = nn.ModuleList([StyledConv(w, widths[0], widths[0], layer=0, up=False)])
        for i, (a, b) in enumerate(itertools.pairwise(widths)):
            self.convs.append(StyledConv(w, a, b, layer=2 * i + 1, up=True))
            self.convs.append(StyledConv(w, b, b, layer=2 * i + 2, up=False))
        self.paints = nn.ModuleList(Painted(w, n, channels) for n in widths)
        self.crop = Crop(grid.height, grid.width)

    def forward(self, w: Tensor, z: Tensor | None = None) -> Tensor:
        each = (w.unsqueeze(1).expand(-1, self.layers, -1) if w.dim() == 2 else w).unbind(1)
        h = self.start.to(w.dtype).expand(w.shape[0], *self.start.shape)
        h = self.convs[0](h, each[0], z)
        x = self.paints[0](h, each[1])
        for i in range(1, len(self.paints)):  # an image takes the style of the next layer, as the paper's does
            h = self.convs[2 * i - 1](h, each[2 * i - 1], z)
            h = self.convs[2 * i](h, each[2 * i], z)
            x = blurred_up(x) + self.paints[i](h, each[2 * i + 1])
        made: Tensor = self.crop(x)
        return made


def modulated(x: Tensor, weight: Tensor, style: Tensor, *, demodulate: bool = True, up: bool = False) -> Tensor:
    """x convolved by each row's own s_i W_oik / sqrt(sum over i, k of (s_i W_oik)^2 + 1e-8) (Karras et al. 2020, eq. 1, 3).

    The row's scales are put on its input and output instead of on the weights: one convolution for all rows, which any
    batch size can export. x [N, i, H, W], weight [o, i, k, k], style s [N, i]; `up`: to twice the size.
    """
    x = x * style[..., None, None].to(x.dtype)
    x = convolved_up(x, weight) if up else F.conv2d(x, weight, padding=weight.shape[2] // 2)
    if demodulate:
        x = x * demodulation(style, weight)[..., None, None].to(x.dtype)
    return x


class StyledConv(nn.Module):
    """A modulated, demodulated convolution, noise, bias, leaky rectifier."""

    def __init__(self, w: int, inputs: int, outputs: int, *, layer: int, up: bool) -> None:
        super().__init__()
        self.up = up
        self.affine = EqualLinear(w, inputs, bias_init=1.0)
        self.conv = EqualConv2d(inputs, outputs, 3, bias=False)
        self.noise = Noise(layer)
        self.bias = nn.Parameter(torch.zeros(outputs, 1, 1))
        self.act = Leaky()

    def forward(self, x: Tensor, w: Tensor, z: Tensor | None) -> Tensor:
        x = modulated(x, self.conv.weight, self.affine(w), up=self.up)
        made: Tensor = self.act(self.noise(x, z) + self.bias.to(x.dtype))
        return made


class Painted(nn.Module):
    """A map to colours: a modulated 1 x 1 convolution, not demodulated."""

    def __init__(self, w: int, inputs: int, channels: int) -> None:
        super().__init__()
        self.affine = EqualLinear(w, inputs, bias_init=1.0)
        self.conv = EqualConv2d(inputs, channels, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        made = modulated(x, self.conv.weight, self.affine(w), demodulate=False)
        return made + self.bias.to(made.dtype)


@critic.named("style2")
class Style2Critic(nn.Module):
    """1 x 1 convolution, residual blocks each half as large, 3 x 3 convolution, a dense layer, one logit, at an equalised
    learning rate (Karras et al. 2020, arXiv:1912.04958, configuration F).

    Told the class, the logit is a projection on its embedding, mapped by eight layers (Karras et al. 2020b).
    """

    def __init__(
        self,
        spec: Spec,
        *,
        width: Width = 32,  # channels of the full size; doubled with each halving
        widest: Width = 512,
        minibatch_std: bool = False,  # one more channel before the last convolution; the paper's critic has it
        group: Annotated[int, Field(ge=2)] | None = 4,  # rows that statistic is taken over; null: the batch
        mapping_layers: Layers = 8,  # of the class
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "style2")
        k = halvings(h, w)
        widths = widths_of(k, width, widest)[::-1]
        n = widths[-1]
        self.read = nn.Sequential(EqualConv2d(c, widths[0], 1), Leaky())
        self.blocks = nn.ModuleList(_Residual(a, b) for a, b in itertools.pairwise(widths))
        self.spread = MinibatchStd(group) if minibatch_std else None
        self.last = nn.Sequential(
            EqualConv2d(n + minibatch_std, n, 3),
            Leaky(),
            nn.Flatten(),
            EqualLinear(n * (h >> k) * (w >> k), n),
            Leaky(),
        )
        self.head = ClassHead(n, classes=spec.classes, layers=mapping_layers)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Verdict:
        h, features = self.read(x), []
        for block in self.blocks:
            h = block(h)
            features.append(h)
        h = self.last(h if self.spread is None else self.spread(h))
        return Verdict(self.head(h, y), [*features, h])


class _Residual(nn.Module):
    """(f(x) + 1 x 1 convolution of x) / sqrt 2, both half as large."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(EqualConv2d(inputs, inputs, 3), Leaky(), HalvingConv(inputs, outputs), Leaky())
        self.skip = EqualConv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = (self.body(x) + self.skip(blurred_down(x))) / ROOT2
        return made
