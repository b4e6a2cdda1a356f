"""Adaptive pseudo augmentation."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from gantlet.augment.control import Controller, Interval, Signal, Speed, Target
from gantlet.core.critics import Adversarial
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.noise import uniform
from gantlet.core.registry import trick
from gantlet.core.trick import Trick, unordered
from gantlet.core.when import Now

Cap = Annotated[float, Field(gt=0, lt=1)]  # at 1 there are no reals left


@trick.named("apa")
class APA(Trick):
    """APA: in D turns a real becomes the fake of its row with probability p led by overfitting (Jiang et al. 2021).

    A loss that compares each row's real with its fake (relativistic) is shown the fake of the row before in the batch, the
    first row that of the last: a fake compared with itself costs the same whatever D says. Overfitting is read from the
    rows whose real is one.
    """

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
        self.samples = 0  # of the turn being played: packing leaves fewer rows of logits

    def refuse(self, pair: Adversarial) -> str | None:
        by_row = pair.paired and pair.as_real is None and not pair.couples_batch
        self.couples_batch = self.couples_batch or by_row
        return unordered(pair)

    def critic_spec(self, spec: Spec) -> Spec:
        if self.couples_batch and (spec.given or spec.classes):
            raise InputError(
                "trick 'apa': this loss compares rows, so a real becomes the fake of another row, which belongs to other "
                "conditions; use adversarial=non-saturating, tricks.ada={}, or leave the trick out"
            )
        return spec

    def begin(self, now: Now) -> None:
        self.control.settle(now)

    def _pseudo(self, rows: int, now: Now, device: torch.device) -> Tensor:
        """Which reals are fakes, bool [rows]; p stays as it is until the next batch."""
        key = (now.seed, now.step, now.play, "apa")
        return uniform((), rows, key=key, first=now.first, device=device) < self.control.p

    def judged(self, real: Tensor, fake: Tensor, now: Now) -> tuple[Tensor, Tensor]:
        self.samples = len(real)
        pseudo = self._pseudo(len(real), now, real.device)
        other = fake.roll(1, 0) if self.couples_batch else fake
        return torch.where(pseudo.view(-1, *[1] * (real.dim() - 1)), other.to(real.dtype), real), fake

    def observe(self, real: Tensor, fake: Tensor, now: Now) -> None:
        pseudo = self._pseudo(self.samples, now, real.device).view(len(real), -1).any(1)  # in a pack one is enough
        self.control.observe(real, fake, ~pseudo)
