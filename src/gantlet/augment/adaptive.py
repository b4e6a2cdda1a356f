"""Adaptive discriminator augmentation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from gantlet.augment.color import COLORS
from gantlet.augment.control import Cap, Controller, Interval, Signal, Speed, Target
from gantlet.augment.draws import drawn
from gantlet.augment.geometry import MOVES, composed
from gantlet.augment.pixels import alike, refuse_points, warp, where, wide
from gantlet.core.critics import Adversarial
from gantlet.core.game import Spec
from gantlet.core.noise import normal
from gantlet.core.registry import trick
from gantlet.core.trick import Given, Trick, unordered
from gantlet.core.when import Now, Schedule, at

Operation = Literal[
    "x-flip", "quarter-turns", "integer-translation", "isotropic-scaling", "rotation", "anisotropic-scaling",
    "fractional-translation", "brightness", "contrast", "luma-flip", "hue", "saturation", "cutout", "noise",
]  # fmt: skip
BLIT: tuple[Operation, ...] = ("x-flip", "quarter-turns", "integer-translation")
GEOMETRY: tuple[Operation, ...] = ("isotropic-scaling", "rotation", "anisotropic-scaling", "fractional-translation")
COLOR: tuple[Operation, ...] = ("brightness", "contrast", "luma-flip", "hue", "saturation")


@trick.named("ada")
class ADA(Trick):
    """ADA: critics see x and G(z) augmented, each operation with probability p led by overfitting (Karras et al. 2020).

    The operations are those of the paper's appendix B without its image-space filters; the ones that move pixels are
    one bilinear resampling. While p is 0 critics see the images themselves.
    """

    def __init__(
        self,
        *,
        policy: Annotated[tuple[Operation, ...], Field(min_length=1)] = (*BLIT, *GEOMETRY, *COLOR),  # the paper's bgc
        p: Annotated[Schedule, Field(ge=0, le=1)] | None = None,  # a probability of your own; null: the controller's
        signal: Signal = "auc",
        target: Target = 0.6,
        interval: Interval = 4,  # batches
        speed_images: Speed = 500_000.0,  # images in which p can go from 0 to 1
        cap: Cap = 0.8,  # above it augmentations leak into the samples (the paper's figure 4)
    ) -> None:
        super().__init__()
        self.policy, self.fixed = frozenset(policy), p
        self.control = Controller(signal=signal, target=target, interval=interval, speed=speed_images, cap=cap)

    def refuse(self, pair: Adversarial) -> str | None:
        if self.fixed is not None or (why := unordered(pair)) is None:
            return None  # a probability of your own is led by no logit
        return f"{why}; or give ada a probability of your own, p=0.3"

    def critic_spec(self, spec: Spec) -> Spec:
        refuse_points(spec, "ada")
        return spec

    def begin(self, now: Now) -> None:
        self.control.settle(now)

    def observe(self, real: Tensor, fake: Tensor, now: Now) -> None:
        self.control.observe(real, fake)

    def shown(self, x: Tensor, given: Given, now: Now, side: str) -> tuple[Tensor, Given]:
        p = self.control.p if self.fixed is None else x.new_full((), at(self.fixed, now))
        key = (now.seed, now.step, now.play, "ada", side)
        draws = drawn([*MOVES, *COLORS, "noise"], x, key=key, first=now.first)

        def change(image: Tensor) -> Tensor:
            moves = composed(draws, p, self.policy, (image.shape[2], image.shape[3]))
            if moves is not None:
                image = where(moves[0], warp(image, moves[1]), image)
            for name in (name for name in COLORS if name in self.policy):
                image = where(draws[name].gate < p, COLORS[name](image, draws[name]), image)
            return image

        x, given = alike(x, given, change)
        if "noise" in self.policy:  # N(0, s^2), s = |N(0, 0.1^2)|; on the samples alone
            pixels = normal(tuple(x.shape[1:]), len(x), key=(*key, "noise"), first=now.first, device=x.device)
            noisy = x + wide(0.1 * draws["noise"].g[:, 0].abs(), x) * pixels.to(x.dtype)
            x = where(draws["noise"].gate < p, noisy, x)
        return x, given
