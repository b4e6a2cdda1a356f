"""Blocks that families share."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import register_parametrization

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


def spectrally_normalised(module: nn.Module, *, embeddings: bool = False, steady: bool = False) -> None:
    """Divide every weight by its largest singular value from here on (Miyato et al. 2018); initialise before this.

    `embeddings`: their tables too, as a projection critic wants it; never one that begins as zeros. `steady`: what a
    generator needs, whose fakes must be the same however often a step makes them (`SteadyNorm`).
    """
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, *([nn.Embedding] if embeddings else []))
    for m in [m for m in module.modules() if isinstance(m, kinds)]:
        if steady:
            assert isinstance(m.weight, Tensor)
            register_parametrization(m, "weight", SteadyNorm(m.weight, dim=int(isinstance(m, nn.ConvTranspose2d))))
        else:
            spectral_norm(m)


class SteadyNorm(nn.Module):
    """W / (u^T W v): u and v take one power iteration for each change of W (Miyato et al. 2018, algorithm 1).

    torch's spectral norm takes one in every forward of training: pieces of a batch, or a scene that is made again,
    would be another network's. That W changed shows in u^T W v, on the device.
    """

    def __init__(self, weight: Tensor, *, dim: int = 0) -> None:
        super().__init__()
        self.dim = dim  # of the filters
        matrix = self._matrix(weight.detach())
        self.register_buffer("u", F.normalize(torch.randn_like(matrix[:, 0]), dim=0))
        self.register_buffer("v", F.normalize(torch.randn_like(matrix[0]), dim=0))
        self.register_buffer("sigma", matrix.new_zeros(()))
        for _ in range(0 if matrix.is_meta else 15):
            self.get_buffer("sigma").fill_(-1)
            self._turned(matrix)

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.transpose(0, self.dim).flatten(1)

    @torch.no_grad()
    def _turned(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors for this matrix, one iteration further if it is another than the last."""
        u, v, sigma = (self.get_buffer(name) for name in ("u", "v", "sigma"))
        image = matrix @ v
        changed = torch.dot(u, image) != sigma
        further = F.normalize(image, dim=0)
        u_, v_ = torch.where(changed, further, u), torch.where(changed, F.normalize(matrix.T @ further, dim=0), v)
        for buffer, value in ((u, u_), (v, v_), (sigma, torch.dot(u_, matrix @ v_))):
            buffer.copy_(value)
        return u_, v_  # not the buffers: a later forward writes into those

    def forward(self, weight: Tensor) -> Tensor:
        kind = weight.device.type
        with torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext():
            matrix = self._matrix(weight)
            u, v = (
                self._turned(matrix) if self.training else (self.get_buffer("u").clone(), self.get_buffer("v").clone())
            )
            return weight / torch.dot(u, matrix @ v)


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


# ---- what conditional and residual families share -----------------------------------------------------------------

Norm = Callable[[int], nn.Module]  # channels -> a norm that is called with a map and a condition, (x, c)


def known(y: Tensor | None, classes: int) -> Tensor | None:
    """The labels a network of so many classes was given; InputError where it was given none."""
    if classes and y is None:
        raise InputError(
            f"this network is told which of {classes} classes: call it with y int64 [N] as its second input"
        )
    return y


class ConditionalNorm(nn.Module):
    """(1 + A c) . norm(x) + B c: batch norm whose gain and bias a condition c gives (de Vries et al. 2017).

    `told` makes A and B for so many channels; without it the norm has a gain and a bias of its own and c is not looked
    at. Without `batch_norm` only gain and bias are left.
    """

    def __init__(
        self, channels: int, *, told: Callable[[int], nn.Module] | None = None, batch_norm: bool = True
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=told is None) if batch_norm else nn.Identity()
        self.gain = None if told is None else told(channels)
        self.bias = None if told is None else told(channels)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        normed: Tensor = self.norm(x)
        if self.gain is None or self.bias is None:
            return normed
        gain: Tensor = self.gain(c)[..., None, None]
        bias: Tensor = self.bias(c)[..., None, None]
        return normed * (1 + gain.to(normed.dtype)) + bias.to(normed.dtype)


def norm_by_class(classes: int, *, batch_norm: bool = True) -> Norm:
    """Norms with a gain and a bias for each class, at first 1 and 0; c is int64 [N]. No classes: one for all."""
    return partial(ConditionalNorm, told=partial(_zeros, classes) if classes else None, batch_norm=batch_norm)


def norm_by_vector(width: int, *, batch_norm: bool = True) -> Norm:
    """Norms with a gain and a bias linear in c [N, width] (Brock et al. 2019). No width: one for all."""
    told = partial(nn.Linear, width, bias=False) if width else None
    return partial(ConditionalNorm, told=told, batch_norm=batch_norm)


def _zeros(classes: int, channels: int) -> nn.Embedding:
    table = nn.Embedding(classes, channels)
    nn.init.zeros_(table.weight)
    return table


class SelfAttention(nn.Module):
    """x + gamma W softmax(f(x)^T g(x)) h(x), gamma 0 at first (Zhang et al. 2019); keys and values at half the size.

    Products and a softmax, nothing fused: gradient penalties differentiate it twice.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        keys, values = max(1, channels // 8), max(1, channels // 2)
        self.query, self.key = (nn.Conv2d(channels, keys, 1, bias=False) for _ in range(2))
        self.value = nn.Conv2d(channels, values, 1, bias=False)
        self.out = nn.Conv2d(values, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        key, value = self.key(x), self.value(x)
        if min(x.shape[2:]) > 1:
            key, value = F.max_pool2d(key, 2), F.max_pool2d(value, 2)
        scores = self.query(x).flatten(2).transpose(1, 2) @ key.flatten(2)  # [N, queries, keys]
        seen = value.flatten(2) @ scores.softmax(2).transpose(1, 2)  # [N, values, queries]
        told: Tensor = self.out(seen.unflatten(2, x.shape[2:]))
        return x + self.gamma * told


def attended(sides: list[int], limit: int) -> int:
    """Which of these maps attention is laid on: the first of the largest whose side is at most `limit`."""
    return sides.index(max([s for s in sides if s <= limit] or [min(sides)]))


def twice(x: Tensor) -> Tensor:
    """Every pixel four times."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


class UpBlock(nn.Module):
    """norm, ReLU, twice the size, 3 x 3, norm, ReLU, 3 x 3; beside it twice the size and 1 x 1 (Miyato et al. 2018)."""

    def __init__(self, a: int, b: int, norm: Norm) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(a), norm(b)
        self.conv1, self.conv2 = nn.Conv2d(a, b, 3, 1, 1), nn.Conv2d(b, b, 3, 1, 1)
        self.shortcut = nn.Conv2d(a, b, 1)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        h = self.conv1(twice(F.relu(self.norm1(x, c))))
        h = self.conv2(F.relu(self.norm2(h, c)))
        said: Tensor = h + twice(self.shortcut(x))  # a 1 x 1 convolution commutes with it, and is cheaper before
        return said


class DownBlock(nn.Module):
    """ReLU, 3 x 3, ReLU, 3 x 3, half the size; beside it half the size and 1 x 1 (Miyato et al. 2018).

    `first`: it reads the image itself, so no ReLU before it. `wide`: the channels grow in its first convolution, not in
    its second. `layer_norm` stands before each ReLU. Blocks that neither halve nor widen are the identity beside.
    """

    def __init__(
        self, a: int, b: int, *, down: bool = True, first: bool = False, wide: bool = False, layer_norm: bool = False
    ) -> None:
        super().__init__()
        self.down, self.first = down, first
        middle = b if wide or first else a
        self.norm1 = nn.GroupNorm(1, a) if layer_norm and not first else nn.Identity()
        self.norm2 = nn.GroupNorm(1, middle) if layer_norm else nn.Identity()
        self.conv1, self.conv2 = nn.Conv2d(a, middle, 3, 1, 1), nn.Conv2d(middle, b, 3, 1, 1)
        self.shortcut = nn.Conv2d(a, b, 1) if down or a != b else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x if self.first else F.relu(self.norm1(x)))
        h = self.conv2(F.relu(self.norm2(h)))
        if self.down:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        said: Tensor = h + self.shortcut(x)
        return said


class Projection(nn.Module):
    """w . h + b + h . v_y: a critic's last word on features h [N, width] and the class (Miyato and Koyama 2018)."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.table = nn.Embedding(classes, width) if classes else None
        if self.table is not None:
            nn.init.xavier_uniform_(self.table.weight)
        self.linear = nn.Linear(width, 1)

    def forward(self, h: Tensor, y: Tensor | None = None) -> Tensor:
        """[N]"""
        said: Tensor = self.linear(h).squeeze(1)
        y = known(y, self.classes)
        return said if self.table is None else said + (self.table(y) * h).sum(1)
