"""Twice and half the size with the [1, 3, 3, 1] filter, as plain depthwise convolutions: twice differentiable."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gantlet.nets.equalised import EqualConv2d


def _depthwise(x: Tensor, gain: float) -> Tensor:
    """The filter for each of x's channels, [C, 1, 4, 4], made where x is: no copy from the host. Sums to `gain`."""
    taps = (4 - 2 * (torch.arange(4, device=x.device, dtype=x.dtype) - 1.5).abs()) / 8  # 1 3 3 1
    return (gain * taps[:, None] * taps).expand(x.shape[1], 1, 4, 4)


def blurred(x: Tensor, *, padding: int = 1, gain: float = 1.0) -> Tensor:
    """x filtered by [1, 3, 3, 1] along both axes; zeros beyond the border. [N, C, H, W] -> [N, C, H + 2 p - 3, ...]."""
    return F.conv2d(x, _depthwise(x, gain), padding=padding, groups=x.shape[1])


def blurred_up(x: Tensor) -> Tensor:
    """Zeros between the pixels, then the filter with gain 4 (Karras et al. 2020, B). [N, C, H, W] -> [N, C, 2H, 2W]."""
    return F.conv_transpose2d(x, _depthwise(x, 4.0), stride=2, padding=1, groups=x.shape[1])


def blurred_down(x: Tensor) -> Tensor:
    """The filter, then every second pixel. [N, C, H, W] -> [N, C, H // 2, W // 2]."""
    return F.conv2d(x, _depthwise(x, 1.0), stride=2, padding=1, groups=x.shape[1])


def convolved_up(x: Tensor, weight: Tensor) -> Tensor:
    """A 3 x 3 convolution of x with zeros between its pixels, then the filter: `blurred_up` and a convolution for a
    quarter of the work. StyleGAN's nearest neighbour, convolution and [1, 2, 1] are the same but for the border.
    weight [out, in, 3, 3], no bias. [N, in, H, W] -> [N, out, 2H, 2W].
    """
    return blurred(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), gain=4.0)


class HalvingConv(EqualConv2d):
    """The filter, then a 3 x 3 convolution of stride 2 (Zhang 2019). [N, inputs, H, W] -> [N, outputs, H // 2, W // 2]."""

    def __init__(self, inputs: int, outputs: int, *, gain: float = 1.0) -> None:
        super().__init__(inputs, outputs, 3, stride=2, padding=0, gain=gain)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(blurred(x, padding=2))
