"""Signals of limited bandwidth: Kaiser-windowed low-pass filters, and a rectifier that adds no aliases."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantlet.nets.equalised import ROOT2, SLOPE


class Signal(NamedTuple):
    """Samples of a continuous signal; frequencies in cycles per unit of length, places counted from the middle."""

    rate: int  # samples per unit
    cutoff: float  # the frequency up to which it is what the network makes of it
    half_width: float  # half of the transition band: from cutoff - half_width to cutoff + half_width
    size: tuple[int, int]  # samples down and across


def attenuation(taps: int, half_width: float, rate: float) -> float:
    """What a Kaiser window of so many taps keeps out of the stop band, in dB (Kaiser 1974): 2.285 (n - 1) dw + 7.95."""
    return 2.285 * (taps - 1) * math.pi * 2 * half_width / (rate / 2) + 7.95


def kaiser_beta(decibel: float) -> float:
    """The window's shape for an attenuation (Kaiser 1974)."""
    if decibel > 50:
        return 0.1102 * (decibel - 8.7)
    over = max(decibel - 21, 0.0)
    return 0.5842 * math.pow(over, 0.4) + 0.07886 * over


def low_pass(taps: int, *, cutoff: float, half_width: float, rate: float, radial: bool = False) -> Tensor:
    """A windowed sinc [taps], or `radial` a windowed jinc [taps, taps]: float64, gain 1 at frequency 0.

    sinc: sin(2 pi c t) / (pi t) along one axis; jinc: c J1(2 pi c r) / r, the same in all directions (Karras et al.
    2021, appendix).
    """
    beta = kaiser_beta(attenuation(taps, half_width, rate))
    window = torch.kaiser_window(taps, periodic=False, beta=beta, dtype=torch.float64)
    t = (torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2) / rate
    ideal: Tensor
    if radial:
        r = torch.hypot(t.view(-1, 1), t).clamp(min=1e-9 / rate)  # an odd filter has a tap in the middle
        ideal = torch.special.bessel_j1(2 * math.pi * cutoff * r) / r
        window = torch.outer(window, window)
    else:
        ideal = torch.sinc(2 * cutoff * t)
    ideal = ideal * window
    return ideal / ideal.sum()


class FilteredLeakyReLU(nn.Module):
    """Up by a low-pass filter, sqrt(2) times a leaky rectifier, down by another (Karras et al. 2021, section 3.2).

    The rectifier's new frequencies arise where the rate is `over` times the higher one of the two signals, and are
    filtered away before samples are dropped. [N, C, h, w] -> [N, C, *after.size]; the input may be larger than
    `before.size` by any `grown` samples an axis: what is outside is cut.
    """

    wide: Tensor
    narrow: Tensor

    def __init__(
        self,
        before: Signal,
        after: Signal,
        *,
        grown: int = 0,
        taps: int = 6,  # the paper's n: of each filter per sample of the lower rate
        over: int = 2,  # the paper's m: with less aliases come back, with more little is won
        radial: bool = False,  # the filter on the way down is the same in all directions
    ) -> None:
        super().__init__()
        rate = over * max(before.rate, after.rate)
        self.up, self.down = rate // before.rate, rate // after.rate
        up = low_pass(taps * self.up, cutoff=before.cutoff, half_width=before.half_width, rate=rate) * self.up
        count = taps * self.down
        down = low_pass(count, cutoff=after.cutoff, half_width=after.half_width, rate=rate, radial=radial)
        self.register_buffer("wide", up.float(), persistent=False)
        gain = ROOT2 if radial else math.sqrt(ROOT2)  # with the filter, which is applied once or once an axis
        self.register_buffer("narrow", (gain * down).float(), persistent=False)
        spare = [
            (n + grown - 1) * self.up + taps * self.up - (m - 1) * self.down - count
            for n, m in zip(before.size, after.size)
        ]
        assert all(s >= 0 and s % 2 == 0 for s in spare)  # even filters and even factors: the middle stays the middle
        self.crop = (spare[0] // 2, spare[1] // 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(_upsampled(x, self.wide, self.up, self.crop), SLOPE)
        return _downsampled(x, self.narrow, self.down)


def _upsampled(x: Tensor, taps: Tensor, factor: int, crop: tuple[int, int]) -> Tensor:
    """Zeros between the samples, then the filter along both axes; `crop` samples less at each border."""
    c = x.shape[1]
    taps = taps.to(x.dtype)
    x = F.conv_transpose2d(
        x, taps.view(1, 1, -1, 1).expand(c, 1, -1, 1), stride=(factor, 1), padding=(crop[0], 0), groups=c
    )
    return F.conv_transpose2d(
        x, taps.view(1, 1, 1, -1).expand(c, 1, 1, -1), stride=(1, factor), padding=(0, crop[1]), groups=c
    )


def _downsampled(x: Tensor, taps: Tensor, factor: int) -> Tensor:
    """The filter along both axes, or in both at once, then every `factor`th sample."""
    c = x.shape[1]
    taps = taps.to(x.dtype)
    if taps.dim() == 2:
        return F.conv2d(x, taps.expand(c, 1, -1, -1), stride=factor, groups=c)
    x = F.conv2d(x, taps.view(1, 1, -1, 1).expand(c, 1, -1, 1), stride=(factor, 1), groups=c)
    return F.conv2d(x, taps.view(1, 1, 1, -1).expand(c, 1, 1, -1), stride=(1, factor), groups=c)
