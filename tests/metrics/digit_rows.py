"""The 8 x 8 digits as a data set of the tests' own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gantlet.core.game import Batch, Spec


@dataclass
class Digits:
    """Rows of x and labels, as a data set."""

    x: Tensor
    y: Tensor | None
    classes: int = 10

    @property
    def spec(self) -> Spec:
        return Spec(tuple(self.x.shape[1:]), classes=self.classes, count=len(self.x))

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, index: Tensor, device: torch.device | None = None) -> Batch:
        return Batch(self.x[index], None if self.y is None else self.y[index], (), index)

    def pick(self, which: Tensor | slice) -> Digits:
        return Digits(self.x[which], None if self.y is None else self.y[which], self.classes)

    def cut(self, start: int, stop: int) -> Digits:
        return self.pick(slice(start, stop))
