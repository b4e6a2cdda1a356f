"""Equalised learning rate and pixel norm: what the growing and the style families are put together from."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, register_parametrization

SLOPE = 0.2  # of these families' leaky rectifiers
ROOT2 = math.sqrt(2)  # gain that keeps the variance through a rectifier


class EqualLinear(nn.Linear):
    """W x g m / sqrt(inputs) + m b, W drawn from N(0, 1) / m: all layers learn at one speed (Karras et al. 2018, 4.1).

    [..., inputs] -> [..., outputs]. m is `lr_multiplier`, g is `gain` (sqrt 2 before a rectifier that has no gain of its
    own). `weight` and `bias` are what is multiplied and added; what is learnt is `raw` and `raw_bias`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        bias: bool = True,
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
        gain: float = 1.0,
    ) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = inputs, outputs
        self.scale, self.lr_multiplier = gain * lr_multiplier / math.sqrt(inputs), lr_multiplier
        self.raw = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.raw_bias = nn.Parameter(torch.full((outputs,), bias_init / lr_multiplier)) if bias else None

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        return self.raw * self.scale

    @property
    def bias(self) -> Tensor | None:  # type: ignore[override]
        return self.raw_bias if self.raw_bias is None else self.raw_bias * self.lr_multiplier


class EqualConv2d(nn.Conv2d):
    """A convolution by W g / sqrt(inputs kernel^2), W drawn from N(0, 1) (Karras et al. 2018, 4.1).

    [N, inputs, H, W] -> [N, outputs, H', W']; `padding` null keeps the size of odd kernels at stride 1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        bias: bool = True,
        gain: float = 1.0,
    ) -> None:
        padding = kernel // 2 if padding is None else padding
        super().__init__(inputs, outputs, kernel, stride, padding, bias=False, device="meta")
        del self.weight, self.bias
        self.scale = gain / math.sqrt(inputs * kernel**2)
        self.raw = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.raw_bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        return self.raw * self.scale

    @property
    def bias(self) -> Tensor | None:  # type: ignore[override]
        return self.raw_bias


class Scaled(nn.Module):
    """W = raw s, as a parametrisation: what a plain layer learns at an equalised rate."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, raw: Tensor) -> Tensor:
        return raw * self.scale

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight / self.scale


def equalised_like(layer: nn.Module, other: nn.Module) -> None:
    """Let a plain layer, drawn as it should be, learn at the rate of an equalised one; nothing where that is a plain one."""
    held = layer.parametrizations["weight"] if is_parametrized(layer, "weight") else ()  # type: ignore[index]
    scale = next((part.scale for part in held if isinstance(part, Scaled)), None)
    if isinstance(layer, EqualLinear | EqualConv2d):
        scale = layer.scale
    if scale is not None:
        register_parametrization(other, "weight", Scaled(scale))


def pixel_norm(x: Tensor) -> Tensor:
    """x / sqrt(mean of x^2 over channels + 1e-8) (Karras et al. 2018, 4.2). [N, C, ...] -> the same."""
    raised = x.to(torch.promote_types(x.dtype, torch.float32))  # squares overflow half precision
    return x * torch.rsqrt(raised.square().mean(1, keepdim=True) + 1e-8).to(x.dtype)


class PixelNorm(nn.Module):
    """`pixel_norm` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return pixel_norm(x)


class Leaky(nn.LeakyReLU):
    """sqrt(2) times a leaky rectifier of slope 0.2: variance stays what it was."""

    def __init__(self) -> None:
        super().__init__(SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.negative_slope).mul_(ROOT2)
