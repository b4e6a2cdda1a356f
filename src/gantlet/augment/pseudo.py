"""Adaptive pseudo augmentation."""

from __future__ import annotations

import torch
from torch import Tensor

from gantlet.augment.control import Cap, Controller, Interval, Signal, Speed, Target
from gantlet.core.noise import uniform
from gantlet.core.registry import trick
from gantlet.core.trick import Trick
from gantlet.core.when import Now


@trick.named("apa")
class APA(Trick):
    """APA: in D turns a real becomes the fake of its row with probability p led by overfitting (Jiang et al. 2021)."""

    def __init__(
        self,
        *,
        signal: Signal = "auc",
        target: Target = 0.6,
        interval: Interval = 4,  # batches
        speed_images: Speed = 500_000.0,  # images in which p can go from 0 to 1
        cap: Cap = 0.8,  # above it reals are too rare to learn from
    ) -> None:
        super().__init__()
        self.control = Controller(signal=signal, target=target, interval=interval, speed=speed_images, cap=cap)

    def judged(self, real: Tensor, fake: Tensor, now: Now) -> tuple[Tensor, Tensor]:
        self.control.settle(now)
        key = (now.seed, now.step, now.play, "apa")
        pseudo = uniform((), len(real), key=key, first=now.first, device=real.device) < self.control.p
        return torch.where(pseudo.view(-1, *[1] * (real.dim() - 1)), fake.to(real.dtype), real), fake

    def observe(self, real: Tensor, fake: Tensor, now: Now) -> None:
        self.control.observe(real, fake)
