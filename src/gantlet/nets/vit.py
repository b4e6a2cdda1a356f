"""Transformers as generator and critic: patch tokens, styles that modulate them, attention as plain products."""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Verdict
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.registry import critic, generator
from gantlet.nets.layers import Crop, image_shape, initialise, known

Width = Annotated[int, Field(ge=1)]


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt d) v, [..., T, d] each, written out: fused kernels have no second derivative."""
    return torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), -1) @ v


class Norm(nn.Module):
    """x / sqrt(E x^2 + 1e-6) over the last axis, times learned numbers where `scale` (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, *, scale: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width)) if scale else None

    def forward(self, x: Tensor) -> Tensor:
        x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
        return x if self.weight is None else x * self.weight


class Attention(nn.Module):
    """Self-attention with several heads: [N, T, width] -> the same (Vaswani et al. 2017)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.read = nn.Linear(width, 3 * width)
        self.write = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        q, k, v = self.read(x).view(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        out: Tensor = self.write(attend(q, k, v).transpose(1, 2).reshape(n, t, width))
        return out


class Block(nn.Module):
    """x + g1 A(m1(norm x)), then x + g2 P(m2(norm x)): attention A, a perceptron P four times as wide.

    Without a style g = 1 and m multiplies by learned numbers. With one, m(h) = (1 + scale) h + shift and g = 1 + gate are
    linear in the style w, six vectors in all (adaptive norm: Peebles and Xie 2023).
    """

    def __init__(self, width: int, *, heads: int, depth: int, styled: bool) -> None:
        super().__init__()
        self.norms = nn.ModuleList(Norm(width, scale=not styled) for _ in range(2))
        self.attention = Attention(width, heads)
        last = nn.Linear(4 * width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), last)
        self.modulate = nn.Linear(width, 6 * width) if styled else None
        initialise(self, nn.init.xavier_normal_)
        with torch.no_grad():
            for layer in (self.attention.write, last):
                layer.weight.mul_((2 * depth) ** -0.5)  # all branches together add as much as one
            if self.modulate is not None:  # styles are of size one: shifts and scales begin at half of that
                nn.init.normal_(self.modulate.weight, std=0.5 * width**-0.5)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        if self.modulate is None or style is None:
            for norm, branch in zip(self.norms, (self.attention, self.perceptron), strict=True):
                x = x + branch(norm(x))
            return x
        parts = self.modulate(style).unsqueeze(1).chunk(6, -1)
        for i, branch in enumerate((self.attention, self.perceptron)):
            scale, shift, gate = parts[3 * i : 3 * i + 3]
            x = x + (1 + gate) * branch((1 + scale) * self.norms[i](x) + shift)
        return x


@generator.named("vit")
class ViTGenerator(nn.Module):
    """A learned token for each patch -> transformer blocks whose norms, shifts and gates follow a style w of z -> a linear
    map to each patch's pixels (in the manner of GAT: Hyun, Lee and Heo 2025, arXiv:2509.24935).

    GAT's tokens are of an autoencoder's codes, these of pixels; w is a perceptron of z, and a norm stands last.
    With classes a label's embedding is added to w. Where patches do not divide the image, it is the middle of a larger
    one. Outputs are not bounded.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        z: Width = 64,
        width: Width = 128,
        depth: Annotated[int, Field(ge=1, le=64)] = 4,
        heads: Annotated[int, Field(ge=1)] = 4,
        patch: Annotated[int, Field(ge=1, le=64)] = 4,  # side of a patch; attention costs 1 / patch^4
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "vit")
        _refuse_heads(width, heads)
        self.classes = spec.classes
        self.z_dim, self.patch, self.grid = z, patch, (-(-h // patch), -(-w // patch))
        self.embed = nn.Embedding(spec.classes, width) if spec.classes else None
        self.mapping = nn.Sequential(nn.Linear(z, width), nn.GELU(), nn.Linear(width, width))
        self.settle = Norm(width)
        self.tokens = nn.Parameter(torch.randn(math.prod(self.grid), width))
        self.blocks = nn.ModuleList(Block(width, heads=heads, depth=depth, styled=True) for _ in range(depth))
        self.norm = Norm(width)
        self.paint = nn.Linear(width, c * patch**2)
        self.crop = Crop(h, w)
        initialise(self.mapping, nn.init.xavier_normal_)
        nn.init.normal_(self.paint.weight, std=0.5 * width**-0.5)  # pixels begin around grey, half as wide as the range
        nn.init.zeros_(self.paint.bias)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        y, style = known(y, self.classes), self.mapping(z)
        if self.embed is not None:
            style = style + self.embed(y)
        style = self.settle(style)
        x = self.tokens.expand(len(z), -1, -1)
        for block in self.blocks:
            x = block(x, style)
        out: Tensor = self.crop(assembled(self.paint(self.norm(x)), self.grid, self.patch))
        return out


@critic.named("vit")
class ViTCritic(nn.Module):
    """A linear map of each patch + a learned place, and a token that is nobody's patch -> transformer blocks -> norm ->
    that token's logit [N] (in the manner of GAT: Hyun, Lee and Heo 2025, arXiv:2509.24935).

    With classes the logit is that of no class plus <h, e_y>. Where patches do not divide the image, zeros are put below
    and to the right. Features are all tokens after each block [N, 1 + T, width].
    """

    def __init__(
        self,
        spec: Spec,
        *,
        width: Width = 128,
        depth: Annotated[int, Field(ge=1, le=64)] = 4,
        heads: Annotated[int, Field(ge=1)] = 4,
        patch: Annotated[int, Field(ge=1, le=64)] = 4,
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "vit")
        _refuse_heads(width, heads)
        self.patch, self.classes = patch, spec.classes
        grid = (-(-h // patch), -(-w // patch))
        self.pad = (0, grid[1] * patch - w, 0, grid[0] * patch - h)
        self.read = nn.Linear(c * patch**2, width)
        self.places = nn.Parameter(0.5 * torch.randn(1 + math.prod(grid), width))  # the first is the judge's token
        self.blocks = nn.ModuleList(Block(width, heads=heads, depth=depth, styled=False) for _ in range(depth))
        self.norm = Norm(width)
        self.embed = nn.Embedding(spec.classes, width) if spec.classes else None
        self.say = nn.Linear(width, 1)
        initialise(self.read, nn.init.xavier_normal_)
        initialise(self.say, nn.init.xavier_normal_)
        if self.embed is not None:
            nn.init.normal_(self.embed.weight, std=width**-0.5)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Verdict:
        y = known(y, self.classes)
        tokens = self.read(cut(F.pad(x, self.pad), self.patch))
        judge = self.places[:1].to(tokens.dtype).expand(len(x), 1, -1)
        h = torch.cat([judge, tokens + self.places[1:].to(tokens.dtype)], 1)
        features = []
        for block in self.blocks:
            h = block(h)
            features.append(h)
        h = self.norm(h[:, 0])
        logits = self.say(h).squeeze(1)
        if self.embed is not None:
            logits = logits + (h * self.embed(y)).sum(1)
        return Verdict(logits, features)


def cut(x: Tensor, patch: int) -> Tensor:
    """Images as patches, row by row. [N, C, a p, b p] -> [N, a b, C p p]"""
    n, c, h, w = x.shape
    x = x.view(n, c, h // patch, patch, w // patch, patch).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(n, -1, c * patch**2)


def assembled(tokens: Tensor, grid: tuple[int, int], patch: int) -> Tensor:
    """Patches as images: `cut` undone. [N, a b, C p p] -> [N, C, a p, b p]"""
    (a, b), n = grid, len(tokens)
    x = tokens.view(n, a, b, -1, patch, patch).permute(0, 3, 1, 4, 2, 5)
    return x.reshape(n, -1, a * patch, b * patch)


def _refuse_heads(width: int, heads: int) -> None:
    if width % heads:
        raise InputError(
            f"network 'vit': width {width} does not divide over {heads} heads; use a width that is a multiple of it, or "
            f"heads={math.gcd(width, heads)}"
        )
