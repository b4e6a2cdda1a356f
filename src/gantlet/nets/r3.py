"""R3GAN's networks: residual blocks without normalisation, as plain as they come (Huang et al. 2024)."""

from __future__ import annotations

import itertools
import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Verdict
from gantlet.core.game import Spec
from gantlet.core.registry import critic, generator
from gantlet.nets.layers import Crop, halvings, image_shape, known

Width = Annotated[int, Field(ge=1)]
SLOPE = 0.2  # of the rectifiers, below zero; smooth ones did worse in the paper's D


def doubled(x: Tensor) -> Tensor:
    """Twice the size, [1, 2, 1] / 2 between the pixels: x_0, (x_0 + x_1) / 2, x_1, ... [N, C, H, W] -> [N, C, 2H, 2W]"""
    x = F.interpolate(x, scale_factor=2, mode="nearest")
    x = torch.cat([x, x[..., -1:, :]], -2)  # the border is repeated
    return F.avg_pool2d(torch.cat([x, x[..., -1:]], -1), 2, 1)


def halved(x: Tensor) -> Tensor:
    """Every second pixel of x filtered by [1, 2, 1] / 4. [N, C, H, W] -> [N, C, ceil(H / 2), ceil(W / 2)]"""
    odd_h, odd_w = x.shape[-2] % 2, x.shape[-1] % 2
    x = torch.cat([x[..., :1, :], x, *[x[..., -1:, :]] * odd_h], -2)
    x = torch.cat([x[..., :1], x, *[x[..., -1:]] * odd_w], -1)
    return F.avg_pool2d(F.avg_pool2d(x, 2, 1), 2)


class Block(nn.Module):
    """x + W3 a(W2 a(W1 x + b1) + b2): to `expand` times the channels, 3 x 3 in groups, and back; W3 begins at zero.

    The other two begin `blocks`^(-1/4) times as large as the rectifier's gain asks (Zhang, Dauphin and Ma 2019), so that
    the first step of a network of so many blocks is not larger than that of one.
    """

    def __init__(self, channels: int, *, blocks: int, expand: int, group: int) -> None:
        super().__init__()
        inner = channels * expand
        self.widen = nn.Conv2d(channels, inner, 1)
        self.mix = nn.Conv2d(inner, inner, 3, 1, 1, groups=inner // math.gcd(inner, group))
        self.narrow = nn.Conv2d(inner, channels, 1, bias=False)
        self.bend = nn.LeakyReLU(SLOPE)
        for layer in (self.widen, self.mix):
            _draw(layer, gain=nn.init.calculate_gain("leaky_relu", SLOPE) * blocks**-0.25)
        nn.init.zeros_(self.narrow.weight)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.narrow(self.bend(self.mix(self.bend(self.widen(x)))))
        return out


@generator.named("r3")
class R3Generator(nn.Module):
    """A learned 4 x 4 basis scaled channelwise by a linear map of z -> (residual blocks, twice the size)* -> 1 x 1 -> x,
    the whole without normalisation and without tanh (R3GAN's config E: Huang et al. 2024, arXiv:2501.05441).

    With classes a label's embedding is concatenated to z. The basis is ceil(H / 2^k) x ceil(W / 2^k); what the
    doublings overshoot is cropped. `width=96, widest=768` at 256 x 256 is the paper's table 2, `width=768, widest=768`
    at 32 x 32 its CIFAR-10.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        z: Width = 64,
        width: Width = 96,  # channels at full size; doubled at every halving
        widest: Width = 768,
        blocks: Width = 2,  # residual blocks at each size
        expand: Width = 2,  # of the bottleneck, turned inside out: its 3 x 3 is cheap in groups
        group: Width = 16,  # channels of a group
        embedding: Width | None = None,  # numbers a class has; null: as many as there are classes
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "r3")
        k = halvings(h, w)
        self.z_dim, self.classes = z, spec.classes
        widths = [min(width * 2 ** (k - i), widest) for i in range(k + 1)]
        self.embed = nn.Embedding(spec.classes, embedding or spec.classes) if spec.classes else None
        self.basis = nn.Parameter(torch.randn(widths[0], -(-h // 2**k), -(-w // 2**k)))
        reads = z + (self.embed.embedding_dim if self.embed else 0)
        self.scale = nn.Linear(reads, widths[0], bias=False)
        options = {"blocks": blocks * (k + 1), "expand": expand, "group": group}
        self.stages = nn.ModuleList(_stage(channels, blocks, options) for channels in widths)
        self.moves = nn.ModuleList(_move(a, b) for a, b in itertools.pairwise(widths))
        self.paint = nn.Conv2d(widths[-1], c, 1, bias=False)
        self.crop = Crop(h, w)
        for layer in (self.scale, self.paint):
            _draw(layer)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        y = known(y, self.classes)
        if self.embed is not None:
            z = torch.cat([z, self.embed(y).to(z.dtype)], 1)
        x = self.basis * self.scale(z)[:, :, None, None]
        for i, stage in enumerate(self.stages):
            x = doubled(self.moves[i - 1](x)) if i else x  # narrowed first: the two commute
            x = stage(x)
        out: Tensor = self.crop(self.paint(x))
        return out


@critic.named("r3")
class R3Critic(nn.Module):
    """1 x 1 -> (residual blocks, half the size)* -> a depthwise convolution over what is left -> a linear layer -> logit
    [N], the generator mirrored (R3GAN's config E: Huang et al. 2024, arXiv:2501.05441).

    With classes the logit is <W h(x), e_y>, the features projected on the label's embedding. `decodable` names the maps
    (place among the features, channels, halvings) that a decoder may read whole images and quarters of them from.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        width: Width = 96,
        widest: Width = 768,
        blocks: Width = 2,
        expand: Width = 2,
        group: Width = 16,
        embedding: Width | None = None,
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "r3")
        k = halvings(h, w)
        widths = [min(width * 2**i, widest) for i in range(k + 1)]
        self.classes = spec.classes
        self.read = nn.Conv2d(c, widths[0], 1, bias=False)
        options = {"blocks": blocks * (k + 1), "expand": expand, "group": group}
        self.stages = nn.ModuleList(_stage(channels, blocks, options) for channels in widths)
        self.moves = nn.ModuleList(_move(a, b) for a, b in itertools.pairwise(widths))
        self.decodable = tuple((i, widths[i], i) for i in (k, k - 1))
        last = widths[-1]
        self.gather = nn.Parameter(torch.randn(last, -(-h // 2**k), -(-w // 2**k)))
        says = (embedding or spec.classes) if spec.classes else 1
        self.embed = nn.Embedding(spec.classes, says) if spec.classes else None
        self.say = nn.Linear(last, says, bias=False)
        for layer in (self.read, self.say):
            _draw(layer)
        with torch.no_grad():
            self.gather.mul_(self.gather[0].numel() ** -0.5)
        if self.embed is not None:  # of length one: a logit is as large as it is without classes
            nn.init.normal_(self.embed.weight, std=says**-0.5)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Verdict:
        y = known(y, self.classes)
        h = self.read(x)
        features = []
        for i, stage in enumerate(self.stages):
            h = self.moves[i - 1](halved(h)) if i else h
            h = stage(h)
            features.append(h)
        h = (h * self.gather).sum((2, 3))  # a depthwise convolution as large as the map
        said = self.say(h)
        if self.embed is None:
            return Verdict(said.squeeze(1), [*features, h])
        return Verdict((said * self.embed(y).to(said.dtype)).sum(1), [*features, h])


def _stage(channels: int, count: int, options: dict[str, int]) -> nn.Sequential:
    """The blocks of one size; `options` say how many the network has."""
    return nn.Sequential(*[Block(channels, **options) for _ in range(count)])


def _move(a: int, b: int) -> nn.Module:
    """From one number of channels to another, nothing where they are equal."""
    return _draw(nn.Conv2d(a, b, 1, bias=False)) if a != b else nn.Identity()


def _draw(layer: nn.Linear | nn.Conv2d, gain: float = 1.0) -> nn.Module:
    """Normal weights that keep the variance times gain^2 (He et al. 2015), biases zero."""
    reads = math.prod(layer.weight.shape[1:])
    nn.init.normal_(layer.weight, std=gain * reads**-0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
