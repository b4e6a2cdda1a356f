"""StyleGAN3's generators, of which every layer moves and (configuration R) turns with its input (Karras et al. 2021)."""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.registry import generator
from gantlet.nets.alias_free import FilteredLeakyReLU, Signal
from gantlet.nets.equalised import EqualLinear
from gantlet.nets.layers import image_shape
from gantlet.nets.mapping import MappingNetwork, demodulation

Width = Annotated[int, Field(ge=1)]
Frequency = Annotated[float, Field(gt=0)]
OUTPUT_SCALE = 0.25  # of the image: what the last layer says begins with variance 1, pixels with less


def layers_for(unit: int) -> int:
    """14 layers from 128 x 128 on, as in the paper; two less for each halving below, where there are fewer octaves."""
    return min(14, 2 * int(math.log2(unit)))


def progression(
    height: int, width: int, *, layers: int, critical: int, frame: int, first_cutoff: float, first_stop: float,
    last_stop: float,
) -> list[Signal]:  # fmt: skip
    """The signals of the input, of every layer and of the image (Karras et al. 2021, section 3.2, config T).

    The unit of length holds s pixels, the least power of two that is no less than either side. Cutoffs grow
    geometrically from `first_cutoff` to s / 2, which the last `critical` layers have; stop bands begin at frequencies
    that grow from `first_stop` to `last_stop` s / 2; the rate of a signal is the least power of two, at most s, that is
    no less than twice its stop band's. Around the picture is a frame, in samples of the signal, but for the last two.
    InputError where a stop band would not begin beyond its cutoff, or a cutoff would be beyond half the rate.
    """
    s = 2 ** math.ceil(math.log2(max(height, width)))
    last_cutoff = s / 2
    _refuse_bands(s, first_cutoff, first_stop, last_stop)
    found = []
    for i in range(layers + 1):
        t = min(i / (layers - critical), 1.0)
        cutoff = first_cutoff * (last_cutoff / first_cutoff) ** t
        stop = first_stop * (last_stop * last_cutoff / first_stop) ** t
        rate = 2 ** math.ceil(math.log2(min(2 * stop, s)))
        size = (height, width)
        if i < layers - 1:
            size = (math.ceil(height * rate / s) + 2 * frame, math.ceil(width * rate / s) + 2 * frame)
        found.append(Signal(rate, cutoff, max(rate / 2, stop) - cutoff, size))
    return found


def _refuse_bands(s: int, first_cutoff: float, first_stop: float, last_stop: float) -> None:
    """All cutoffs lie under their stop bands and no higher than half the rate exactly where the first and last do."""
    faults = []
    if first_cutoff > s / 2:
        faults.append(
            f"first_cutoff={first_cutoff:g}: pictures of {s} pixels hold {s // 2} waves; use {s // 2} or less"
        )
    if first_stop <= first_cutoff:
        faults.append(f"first_stop={first_stop:g}: must be above first_cutoff={first_cutoff:g}; use twice that")
    if last_stop <= 1:
        faults.append(f"last_stop={last_stop:g}: must be above 1, so that a filter has a band to fall in; use 1.23")
    if faults:
        raise InputError(faults)


class FourierInput(nn.Module):
    """Waves sin(2 pi (f x + p)) over the plane, turned and moved as w says, then mixed (Karras et al. 2021, config H).

    Frequencies fall uniformly into the disc of the signal's cutoff and stay, as phases do; at first no w turns anything.
    forward(w [N, w], transform) -> [N, channels, h, w]; transform [3, 3] or [N, 3, 3] takes a place, in pixels of the
    image from its middle (right, down, 1), to the place whose waves are seen there.
    """

    frequencies: Tensor
    phases: Tensor

    def __init__(self, w: int, channels: int, signal: Signal, pixels: int) -> None:
        super().__init__()
        self.signal, self.pixels = signal, pixels
        angle, radius = 2 * math.pi * torch.rand(channels), signal.cutoff * torch.rand(channels).sqrt()
        self.register_buffer("frequencies", torch.stack([radius * angle.cos(), radius * angle.sin()], 1))
        self.register_buffer("phases", torch.rand(channels))
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.affine = EqualLinear(w, 4)  # cosine, sine, right, down
        with torch.no_grad():
            self.affine.raw.zero_()
            if self.affine.raw_bias is not None:
                self.affine.raw_bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))

    def forward(self, w: Tensor, transform: Tensor) -> Tensor:
        pose = self.affine(w)
        pose = pose.to(torch.promote_types(pose.dtype, torch.float32))  # places must not be rounded: no matrix products
        cos, sin = (pose[:, :2] / pose[:, :2].norm(dim=1, keepdim=True)).unbind(1)
        turn = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)  # [N, 2, 2]
        move = pose[:, 2:] / pose[:, :2].norm(dim=1, keepdim=True)
        transform = transform.to(turn.dtype).expand(len(w), 3, 3)
        linear = (turn.unsqueeze(3) * transform[:, None, :2, :2]).sum(2)
        offset = (turn * (transform[:, :2, 2] / self.pixels - move).unsqueeze(1)).sum(2)
        f = (self.frequencies.unsqueeze(2) * linear.unsqueeze(1)).sum(2)  # [N, C, 2]: the waves turn, places stay
        phases = self.phases + (self.frequencies * offset.unsqueeze(1)).sum(2)
        room = max(self.signal.rate / 2 - self.signal.cutoff, 0.01 * self.signal.cutoff)
        amplitude = (1 - (f.norm(dim=2) - self.signal.cutoff) / room).clamp(0, 1)  # a zoom may leave the band
        rows, cols = ((torch.arange(n, device=w.device) - (n - 1) / 2) / self.signal.rate for n in self.signal.size)
        along = f[:, :, 0, None] * cols + phases.unsqueeze(2)  # [N, C, w]
        waves = torch.sin(2 * math.pi * (along.unsqueeze(2) + (f[:, :, 1, None] * rows).unsqueeze(3)))
        mix = (self.weight / math.sqrt(len(self.weight)))[..., None, None]
        return F.conv2d(waves * _wide(amplitude, waves), mix)


class AliasFreeLayer(nn.Module):
    """A modulated convolution and a filtered leaky rectifier; the last one (`image`) is 1 x 1, linear, not demodulated.

    Demodulated as scales of the input and the output (Karras et al. 2020, section 2.2): x s -> shared weights -> divided
    by sqrt(sum (s w)^2). What comes in is divided by the root of the running mean of its square (Karras et al. 2021,
    config D), a buffer that moves in training mode when somebody learns from it, after use: rows of a batch stay alone.
    """

    magnitude: Tensor
    convolves = True  # its weight is one of convolutions

    def __init__(
        self, w: int, widths: tuple[int, int], kernel: int, resample: FilteredLeakyReLU | None, *, half_life: float
    ) -> None:
        super().__init__()
        inputs, outputs = widths
        self.kernel, self.half_life, self.resample = kernel, half_life, resample
        self.affine = EqualLinear(w, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("magnitude", torch.ones(()))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.affine(w)
        weight = self.weight / math.sqrt(self.weight[0].numel())
        scale = style * torch.rsqrt(self.magnitude)
        if self.training and torch.is_grad_enabled():  # fakes shown to a critic alone leave no trace
            self._measure(x)
        x = F.conv2d(x * _wide(scale, x), weight, padding=self.kernel - 1)
        if self.resample is None:
            return x + _wide(self.bias, x)
        y: Tensor = self.resample(x * _wide(demodulation(style, weight), x) + _wide(self.bias, x))
        return y

    @torch.no_grad()
    def _measure(self, x: Tensor) -> None:
        """The running mean of x^2, with a half-life in images."""
        mean = torch.linalg.vector_norm(x.detach(), dtype=self.magnitude.dtype).square() / x.numel()
        self.magnitude.lerp_(mean, 1 - 0.5 ** (len(x) / self.half_life))


def _wide(scale: Tensor, x: Tensor) -> Tensor:
    """[..., C] -> [..., C, 1, 1] in x's dtype."""
    return scale[..., None, None].to(x.dtype)


class Synthesis(nn.Module):
    """Styles [N, w] or [N, layers, w] -> images [N, C, H, W]; the first style is the input's, the last the image's."""

    transform: Tensor

    def __init__(
        self, w: int, signals: list[Signal], widths: list[int], channels: int, *, pixels: int, critical: int, taps: int,
        rotation: bool, half_life: float,
    ) -> None:  # fmt: skip
        super().__init__()
        count, kernel = len(signals) - 1, 1 if rotation else 3
        self.layers = count + 2
        self.input = FourierInput(w, widths[0], signals[0], pixels)
        body: list[nn.Module] = []
        for i in range(count):
            before, after = signals[max(i - 1, 0)], signals[i]
            radial = rotation and i < count - critical  # of a critical signal the corners are wanted too
            resample = FilteredLeakyReLU(before, after, grown=kernel - 1, taps=taps, radial=radial)
            pair = (widths[max(i - 1, 0)], widths[i])
            body.append(AliasFreeLayer(w, pair, kernel, resample, half_life=half_life))
        body.append(AliasFreeLayer(w, (widths[count - 1], channels), 1, None, half_life=half_life))
        self.body = nn.ModuleList(body)
        self.register_buffer("transform", torch.eye(3))

    def forward(self, w: Tensor, z: Tensor | None = None) -> Tensor:
        styles = w.unsqueeze(1).expand(-1, self.layers, -1) if w.dim() == 2 else w
        x: Tensor = self.input(styles[:, 0], self.transform)
        for layer, style in zip(self.body, styles[:, 1:].unbind(1), strict=True):
            x = layer(x, style)
        return x * OUTPUT_SCALE


@generator.named("style3")
class Style3Generator(nn.Module):
    """z -> w -> Fourier features -> alias-free modulated layers -> image (Karras et al. 2021, arXiv:2106.12423,
    configuration T; with `rotation` R: 1 x 1 convolutions and radially symmetric filters).

    No noise, no constant input: where things are follows from the waves alone. `synthesis.transform`, [3, 3] or
    [N, 3, 3], moves and turns these, see `FourierInput`. Channels are width (s / 2) / cutoff, at most `widest`: the
    paper's 1024 x 1024 has width 32 and widest 512 in T, twice that in R. Any height and width of at least 4.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        z: Width = 512,
        w: Width = 512,
        width: Width = 32,  # channels of the last layers
        widest: Width = 512,
        rotation: bool = False,
        layers: Annotated[int, Field(ge=4, le=64)] | None = None,  # null: 14 from 128 x 128 on, fewer below
        mapping_layers: Annotated[int, Field(ge=1, le=16)] = 2,  # eight won nothing (config D)
        critical: Annotated[int, Field(ge=1, le=2)] = 2,  # layers at the end that use every frequency: sharp images
        frame: Annotated[int, Field(ge=0, le=64)] = 10,  # samples around the picture in every layer; the paper's margin
        taps: Annotated[int, Field(ge=2, le=32)] = 6,
        first_cutoff: Frequency = 2.0,  # cycles per picture of the coarsest waves
        first_stop: Frequency = 2**2.1,  # cycles per picture; the more, the better early layers keep to the law
        last_stop: Annotated[float, Field(gt=1)] = 2**0.3,  # of the last cutoff
        half_life_images: Annotated[float, Field(gt=0)] = 20_000.0,  # of what layers know of their inputs' size
    ) -> None:
        super().__init__()
        c, height, breadth = image_shape(spec, "style3")
        pixels = 2 ** math.ceil(math.log2(max(height, breadth)))
        signals = progression(
            height, breadth, layers=layers or layers_for(pixels), critical=critical, frame=frame,
            first_cutoff=first_cutoff, first_stop=first_stop, last_stop=last_stop,
        )  # fmt: skip
        widths = [max(1, min(round(width * pixels / 2 / signal.cutoff), widest)) for signal in signals]
        self.z_dim = z
        self.mapping = MappingNetwork(z, w, layers=mapping_layers, classes=spec.classes)
        self.synthesis = Synthesis(
            w, signals, widths, c, pixels=pixels, critical=critical, taps=taps, rotation=rotation,
            half_life=half_life_images,
        )  # fmt: skip

    @property
    def w_mean(self) -> Tensor:
        """The running mean of w, [w]: what styles are truncated towards."""
        return self.mapping.w_mean

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        made: Tensor = self.synthesis(self.mapping(z, y), z)
        return made
