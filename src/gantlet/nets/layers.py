"""Blocks that families share."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gantlet.core.critics import Verdict
from gantlet.core.errors import InputError
from gantlet.core.game import Spec


def image_shape(spec: Spec, net: str) -> tuple[int, int, int]:
    """(C, H, W), or an InputError: this network makes or judges images."""
    if len(spec.shape) != 3:
        raise InputError(f"network {net!r} is for images [C, H, W], the data has shape {list(spec.shape)}; use mlp")
    c, h, w = spec.shape
    if min(h, w) < 4:
        raise InputError(f"network {net!r} needs images of at least 4 x 4, these are {h} x {w}; use mlp")
    return c, h, w


def halvings(height: int, width: int, *, smallest: int = 4) -> int:
    """How often both sides can be halved before the shorter is under `smallest` (at least once)."""
    return max(1, int(math.log2(max(min(height, width) / smallest, 1))))


def initialise(module: nn.Module, draw: Callable[[Tensor], object]) -> None:
    """Weights of every linear and convolution by `draw`, their biases zero."""
    for m in module.modules():
        if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            draw(m.weight)
            if m.bias is not None:
                nn.init.zeros_(m.bias)


def spectrally_normalised(module: nn.Module) -> None:
    """Divide every weight by its largest singular value from here on (Miyato et al. 2018); initialise before this."""
    for m in list(module.modules()):
        if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            spectral_norm(m)


def judged(body: nn.Sequential, x: Tensor) -> Verdict:
    """One logit a row, and what every rectifier of the body gave, from input to output."""
    features = []
    for layer in body:
        x = layer(x)
        if isinstance(layer, nn.LeakyReLU | nn.ReLU):
            features.append(x)
    return Verdict(x.squeeze(1), features)


class Crop(nn.Module):
    """The middle H x W of a larger map."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        top, left = (x.shape[-2] - self.height) // 2, (x.shape[-1] - self.width) // 2
        return x[..., top : top + self.height, left : left + self.width]


class Double(nn.Module):
    """Twice the size, bilinear: no checkerboard."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
