"""Changes of color and of what can be seen: the rest of ADA's operations. Images are in -1..1."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gantlet.augment.draws import Draws
from gantlet.augment.geometry import DOUBLING
from gantlet.augment.pixels import wide, without

Change = Callable[[Tensor, Draws], Tensor]


def brightness(x: Tensor, d: Draws) -> Tensor:
    """+ N(0, 0.2^2)"""
    return x + wide(0.2 * d.g[:, 0], x)


def contrast(x: Tensor, d: Draws) -> Tensor:
    """Times 2^N(0, 0.5^2)."""
    return x * wide(torch.exp(0.5 * DOUBLING * d.g[:, 0]), x)


def luma_flip(x: Tensor, d: Draws) -> Tensor:
    """Light and dark exchanged, colors kept, in half of the rows: x - 2 v (v . x), v = (1, ..., 1) / sqrt(C)."""
    return x - 2 * wide((2 * d.u[:, 0]).floor(), x) * x.mean(1, keepdim=True)


def hue(x: Tensor, d: Draws) -> Tensor:
    """Colors turned by any angle about gray; only where there are three channels."""
    if x.shape[1] != 3:
        return x
    angle = math.pi * (2 * d.u[:, 0] - 1)
    cos, sin = wide(angle.cos(), x), wide(angle.sin(), x)
    r, g, b = x.unbind(1)
    across = torch.stack([b - g, r - b, g - r], 1) / math.sqrt(3)  # v x x
    return cos * x + sin * across + (1 - cos) * x.mean(1, keepdim=True)


def saturation(x: Tensor, d: Draws) -> Tensor:
    """Distance from gray times 2^N(0, 1); nothing where there is one channel."""
    if x.shape[1] == 1:
        return x
    gray = x.mean(1, keepdim=True)
    return gray + (x - gray) * wide(torch.exp(DOUBLING * d.g[:, 0]), x)


def cutout(x: Tensor, d: Draws) -> Tensor:
    """Zeros in a box half as high and wide, its middle anywhere."""
    h, w = x.shape[2:]
    top, left = (d.u[:, 0] * h - h / 4).round().long(), (d.u[:, 1] * w - w / 4).round().long()
    return without(x, top, left, (h + 1) // 2, (w + 1) // 2)


COLORS: dict[str, Change] = {
    "brightness": brightness,
    "contrast": contrast,
    "luma-flip": luma_flip,
    "hue": hue,
    "saturation": saturation,
    "cutout": cutout,
}
