"""Differentiable augmentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from gantlet.augment.pixels import alike, refuse_points, shift, wide, without
from gantlet.core.game import Spec
from gantlet.core.noise import uniform
from gantlet.core.registry import trick
from gantlet.core.trick import Given, Trick
from gantlet.core.when import Now


def color(x: Tensor, u: Tensor) -> Tensor:
    """Brightness + U(-1/2, 1/2), saturation times U(0, 2), contrast times U(1/2, 3/2)."""
    x = x + wide(u[:, 0] - 0.5, x)
    gray = x.mean(1, keepdim=True)
    x = gray + (x - gray) * wide(2 * u[:, 1], x)
    level = x.mean((1, 2, 3), keepdim=True)
    return level + (x - level) * wide(u[:, 2] + 0.5, x)


def translation(x: Tensor, u: Tensor) -> Tensor:
    """Moved by up to an eighth of either side, zeros coming in."""
    down, right = (_whole(u[:, 3 + i], 2 * _part(x, i, 1 / 8) + 1) - _part(x, i, 1 / 8) for i in (0, 1))
    return shift(x, down, right)


def cutout(x: Tensor, u: Tensor) -> Tensor:
    """Zeros in a box half as high and wide, its middle anywhere."""
    h, w = _part(x, 0, 1 / 2), _part(x, 1, 1 / 2)
    top, left = (_whole(u[:, 5 + i], x.shape[2 + i] + 1 - s % 2) - s // 2 for i, s in enumerate((h, w)))
    return without(x, top, left, h, w)


def _part(x: Tensor, side: int, share: float) -> int:
    return int(x.shape[2 + side] * share + 0.5)


def _whole(u: Tensor, n: int) -> Tensor:
    """Uniforms in [0, 1) to whole numbers below n."""
    return (u * n).long()


POLICIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "color": color,
    "translation": translation,
    "cutout": cutout,
}


@trick.named("diffaugment")
class DiffAugment(Trick):
    """DiffAugment: critics see T(x) and T(G(z)), T random and differentiable: color, shift, cutout (Zhao et al. 2020)."""

    def __init__(
        self,
        *,
        policy: Annotated[tuple[Literal["color", "translation", "cutout"], ...], Field(min_length=1)] = (
            "color",
            "translation",
            "cutout",
        ),  # the paper's strongest, for little data
    ) -> None:
        super().__init__()
        self.policy = policy

    def critic_spec(self, spec: Spec) -> Spec:
        refuse_points(spec, "diffaugment")
        return spec

    def shown(self, x: Tensor, given: Given, now: Now, side: str) -> tuple[Tensor, Given]:
        key = (now.seed, now.step, now.play, "diffaugment", side)
        u = uniform((7,), len(x), key=key, first=now.first, device=x.device)

        def change(image: Tensor) -> Tensor:
            for name in self.policy:
                image = POLICIES[name](image, u)
            return image

        return alike(x, given, change)
