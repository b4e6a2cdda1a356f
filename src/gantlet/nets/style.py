"""StyleGAN's generator; its critic is ProGAN's with filtered halving."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.game import Spec
from gantlet.core.registry import generator
from gantlet.nets.equalised import ROOT2, SLOPE, EqualConv2d, EqualLinear
from gantlet.nets.growth import Grid, Growth, painted
from gantlet.nets.layers import Crop, halvings, image_shape
from gantlet.nets.mapping import MappingNetwork, Noise, styles
from gantlet.nets.progan import Width, widths_of
from gantlet.nets.resample import convolved_up

Mixing = Annotated[float, Field(ge=0, le=1)]
Layers = Annotated[int, Field(ge=1, le=16)]


@generator.named("style")
class StyleGenerator(nn.Module):
    """z -> w by eight layers; a learnt map -> (3 x 3 convolution, noise, leaky rectifier, instance norm whose gain and bias
    are linear in w)* -> 1 x 1 convolution (Karras et al. 2019, arXiv:1812.04948, figure 1b).

    The last layer is linear: what reaches beyond -1..1 is clamped where samples are looked at. `mapping(z, y)` gives w,
    `synthesis(w, z)` the image, `w_mean` is where styles are truncated to. At 1024 x 1024 with `width=16` it is the
    paper's. The trick `growing` grows it.
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
        c, height, breadth = image_shape(spec, "style")
        grid = Grid(height, breadth, halvings(height, breadth))
        self.z_dim, self.mixing = z, mixing
        self.mapping = MappingNetwork(z, w, layers=mapping_layers, classes=spec.classes)
        self.synthesis = Synthesis(w, grid, widths_of(grid.doublings, width, widest), c)

    @property
    def w_mean(self) -> Tensor:
        """The running mean of w, [w]: what styles are truncated towards."""
        return self.mapping.w_mean

    def grow(self) -> Growth:
        """From here on as grown as the answer is told: begins with the smallest map."""
        return self.synthesis.grow()

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        w = styles(self.mapping, z, y, layers=self.synthesis.layers, mixing=self.mixing, used=self.synthesis.used)
        made: Tensor = self.synthesis(w, z)
        return made


class Synthesis(nn.Module):
    """Styles w [N, w] or [N, layers, w] -> images [N, C, H, W]; noise follows from z and is a fixed one without."""

    def __init__(self, w: int, grid: Grid, widths: list[int], channels: int) -> None:
        super().__init__()
        k = grid.doublings
        self.grid, self.widths, self.channels, self.layers = grid, widths, channels, 2 * (k + 1)
        # the paper's begins with ones, of which an instance norm leaves nothing
        self.start = nn.Parameter(torch.randn(widths[0], *grid.start))
        pairs = [(widths[max(i - 1, 0)], widths[i]) for i in range(k + 1)]
        self.firsts = nn.ModuleList(_Convolved(*pair, up=True) if i else nn.Identity() for i, pair in enumerate(pairs))
        self.seconds = nn.ModuleList(_Convolved(n, n, up=False) for n in widths)
        self.adapts = nn.ModuleList(_Adapted(w, widths[i // 2], i) for i in range(self.layers))
        self.paints = nn.ModuleDict({str(k): EqualConv2d(widths[k], channels, 1)})  # to colours, by doublings
        self.growth: Growth | None = None
        self.crop = Crop(grid.height, grid.width)

    def grow(self) -> Growth:
        self.growth = Growth(self.grid.doublings)
        lower = self.widths[: self.grid.doublings]
        self.paints.update({str(i): EqualConv2d(n, self.channels, 1) for i, n in enumerate(lower)})
        return self.growth

    @property
    def used(self) -> int:
        """How many layers have been reached, two of each size."""
        return self.layers if self.growth is None else 2 * (self.growth()[0] + 1)

    def forward(self, w: Tensor, z: Tensor | None = None) -> Tensor:
        each = (w.unsqueeze(1).expand(-1, self.layers, -1) if w.dim() == 2 else w).unbind(1)
        k = self.grid.doublings
        top, share = (k, 1.0) if self.growth is None else self.growth()
        before = h = self.start.to(w.dtype).expand(w.shape[0], *self.start.shape)
        for i in range(top + 1):
            before = h
            h = self.adapts[2 * i](self.firsts[i](h), each[2 * i], z)
            h = self.adapts[2 * i + 1](self.seconds[i](h), each[2 * i + 1], z)
        x: Tensor = self.crop(painted(self.paints, h, before, top=top, share=share, doublings=k))
        return x


class _Convolved(nn.Module):
    """A 3 x 3 convolution, to twice the size where `up`; the bias comes after the noise."""

    def __init__(self, inputs: int, outputs: int, *, up: bool) -> None:
        super().__init__()
        self.up, self.conv = up, EqualConv2d(inputs, outputs, 3, bias=False, gain=ROOT2)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = convolved_up(x, self.conv.weight) if self.up else self.conv(x)
        return made


class _Adapted(nn.Module):
    """Noise, bias, leaky rectifier, then (1 + s) (x - mean) / std + b with s and b linear in w (AdaIN)."""

    def __init__(self, w: int, channels: int, layer: int) -> None:
        super().__init__()
        self.noise = Noise(layer, channels)
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))
        self.affine = EqualLinear(w, 2 * channels)

    def forward(self, x: Tensor, w: Tensor, z: Tensor | None) -> Tensor:
        x = F.leaky_relu(self.noise(x, z) + self.bias.to(x.dtype), SLOPE)
        raised = x.to(torch.promote_types(x.dtype, torch.float32))
        var, mean = torch.var_mean(raised, (2, 3), correction=0, keepdim=True)
        normed: Tensor = ((raised - mean) * torch.rsqrt(var + 1e-8)).to(x.dtype)
        gain, shift = self.affine(w)[..., None, None].to(x.dtype).chunk(2, 1)
        adapted: Tensor = normed * (1 + gain) + shift
        return adapted
