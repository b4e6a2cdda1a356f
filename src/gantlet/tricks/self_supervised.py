"""Self-supervised critics: what they saw of a real image can be drawn again."""

from __future__ import annotations

import itertools
import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.augment.pixels import refuse_points
from gantlet.core.critics import Evidence, Verdict
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.noise import uniform
from gantlet.core.registry import trick
from gantlet.core.trick import Trick
from gantlet.core.when import Schedule, at
from gantlet.losses.penalties import raised

NAME = "self-supervised"
INSIDE = "decoders"  # a critic's child: its player moves them
# (place among a critic's features, channels, how often the image was halved) of the maps for wholes and for quarters
Maps = tuple[tuple[int, int, int], tuple[int, int, int]]


class Filter(nn.Module):
    """A 3 x 3 convolution that is no `nn.Conv2d`: what looks for a critic's last layer must not find a decoder's."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(b, a, 3, 3) * math.sqrt(2 / (9 * a)))
        self.bias = nn.Parameter(torch.zeros(b))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=1)


class Decoder(nn.Module):
    """(Twice the size, 3 x 3 convolution, gated linear unit)* -> 3 x 3 convolution -> tanh."""

    def __init__(self, reads: int, channels: int, *, doublings: int, width: int) -> None:
        super().__init__()
        widths = [reads, *[max(width >> i, 1) for i in range(doublings)]]
        self.ups = nn.ModuleList(Filter(a, 2 * b) for a, b in itertools.pairwise(widths))
        self.paint = Filter(widths[-1], channels)

    def forward(self, x: Tensor) -> Tensor:
        for up in self.ups:
            x = F.glu(up(F.interpolate(x, scale_factor=2, mode="nearest")), 1)
        return torch.tanh(self.paint(x))


class Decoders(nn.Module):
    """One for whole images, one for quarters, and the maps they read."""

    def __init__(self, maps: Maps, channels: int, *, doublings: int, width: int) -> None:
        super().__init__()
        self.places = tuple(place for place, _, _ in maps)
        self.whole, self.quarter = (
            Decoder(reads, channels, doublings=min(doublings, halved), width=width) for _, reads, halved in maps
        )

    def forward(self, verdict: Verdict, image: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction loss of whole images and of the quarters that `which` (int64 [N], 0..3) says."""
        whole, part = (raised(verdict.features[place]) for place in self.places)
        seen = self.whole(whole)
        drawn = self.quarter(quarter(part, which))
        return difference(seen, fitted(image, seen)), difference(drawn, fitted(quarter(image, which), drawn))


@trick.named(NAME)
class SelfSupervised(Trick):
    """Self-supervised D: two small decoders draw real images, and a random quarter of each, from D's features, and D
    minimises E |drawn - shown| too (Liu et al. 2021, section 3.2).

    The paper measures by LPIPS, whose weights are not at hand: here it is L1 of pixels and of their slopes over three
    scales. The decoders are D's to move, fakes are not decoded, and G feels nothing. A critic says what to decode by an
    attribute `decodable` = ((place, channels, halvings), (place, channels, halvings)): which of its features, maps
    [N, channels, H / 2^halvings, W / 2^halvings], show a whole image and which one, read in quarters, a quarter of it.
    """

    def __init__(
        self,
        *,
        weight: Annotated[Schedule, Field(ge=0)] = 1.0,
        # of a map until it is compared, the paper's 8 -> 128; never beyond the image's own size
        doublings: Annotated[int, Field(ge=0, le=6)] = 4,
        width: Annotated[int, Field(ge=1)] = 128,  # channels after a decoder's first layer, halved after each
    ) -> None:
        super().__init__()
        self.weight, self.doublings, self.width = weight, doublings, width

    def critic_spec(self, spec: Spec) -> Spec:
        refuse_points(spec, NAME)
        return spec

    def dress(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
        if role != "D":
            return net
        if _decoders(net):
            raise InputError(f"trick {NAME!r}: this critic has decoders already; list the trick once")
        channels = spec.shape[0]
        net.add_module(INSIDE, Decoders(_maps(net), channels, doublings=self.doublings, width=self.width))
        return net

    def d_terms(self, seen: Evidence) -> dict[str, Tensor]:
        image, now = seen.real, seen.now
        for lens in seen.critics.lenses:  # what they were shown: the same draw as when they judged
            image, _ = lens.shown(image, seen.given, now, "real")
        first = now.first * len(image) // len(seen.real)  # fewer rows where samples are packed
        key = (now.seed, now.step, now.play, NAME)
        which = (4 * uniform((), len(image), key=key, first=first, device=image.device)).long()
        lost = []
        for critic, verdict in zip(seen.critics.critics.values(), seen.on_real, strict=True):
            lost += _decoders(critic)[0](verdict, raised(image), which)
        return {"": at(self.weight, now) * torch.stack(lost).sum()}


def _decoders(critic: nn.Module) -> list[nn.Module]:
    """Wherever they are: a later trick may have put something in front of the critic."""
    return [m for m in critic.modules() if isinstance(m, Decoders)]


def _maps(net: nn.Module) -> Maps:
    """What a critic, or the one inside it, names."""
    found: Maps | None = next((m.decodable for m in net.modules() if hasattr(m, "decodable")), None)  # type: ignore[assignment]
    if found is None:
        raise InputError(
            f"trick {NAME!r}: {type(net).__name__} names no feature maps to decode; use fastgan or r3, give your own an "
            "attribute decodable = ((place, channels, halvings),) * 2, or leave the trick out"
        )
    return found


def quarter(x: Tensor, which: Tensor) -> Tensor:
    """The upper left, upper right, lower left or lower right quarter of each row. [N, C, H, W] -> [N, C, H // 2, W // 2]"""
    h, w = max(x.shape[-2] // 2, 1), max(x.shape[-1] // 2, 1)
    corners = [x[..., top, left] for top in (slice(h), slice(-h, None)) for left in (slice(w), slice(-w, None))]
    return torch.stack(corners, 1)[torch.arange(len(x), device=x.device), which]


def fitted(image: Tensor, like: Tensor) -> Tensor:
    """The image averaged to the size of another; repeated where that is larger."""
    return F.adaptive_avg_pool2d(image, (like.shape[2], like.shape[3]))


def difference(a: Tensor, b: Tensor) -> Tensor:
    """Mean over scales 1, 1/2, 1/4 of E |a - b| + E |slopes of a - slopes of b|; images [N, C, H, W]."""
    gap = a - b
    scales = []
    for _ in range(3):
        slopes = [s.abs().mean() for s in (gap.diff(dim=-1), gap.diff(dim=-2)) if s.numel()]
        scales.append(torch.stack([gap.abs().mean(), *slopes]).sum())
        gap = F.avg_pool2d(gap, 2) if min(gap.shape[2:]) >= 2 else gap
    return torch.stack(scales).mean()
