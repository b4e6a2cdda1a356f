"""How much to augment: a probability that follows how far D overfits."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.when import Now

Signal = Literal["auc", "centred"]
Target = Annotated[float, Field(gt=-1, lt=1)]
Interval = Annotated[int, Field(ge=1)]
Speed = Annotated[float, Field(gt=0)]
Cap = Annotated[float, Field(gt=0, le=1)]


class Controller(nn.Module):
    """p += sign(r - target) images / speed every `interval` batches, kept in 0..cap (Karras et al. 2020, section 3).

    r is 1 where D ranks every real above the fake of its row, 0 where it cannot tell: `auc` is the mean sign of
    D(x_i) - D(G(z_i)), an unbiased 2 AUC - 1; `centred` that of reals' logits less (mean real + mean fake) / 2, which
    is the paper's E sign D(x) for a loss with no zero of its own. All of it stays on the device; p moves between
    batches, so the pieces of one batch see one p.
    """

    p: Tensor
    total: Tensor
    rows: Tensor
    batches: Tensor  # since p last moved
    since: Tensor  # images when p last moved
    counted: Tensor  # images at the batch that was counted last

    def __init__(self, *, signal: Signal, target: float, interval: int, speed: float, cap: float) -> None:
        super().__init__()
        self.signal, self.target, self.interval, self.speed, self.cap = signal, target, interval, speed, cap
        for name in ("p", "total", "rows"):
            self.register_buffer(name, torch.zeros(()))
        for name, start in (("batches", 0), ("since", 0), ("counted", -1)):
            self.register_buffer(name, torch.full((), start, dtype=torch.int64))

    @property
    def couples_batch(self) -> bool:
        """The centre is a mean over the batch."""
        return self.signal == "centred"

    @torch.no_grad()
    def settle(self, now: Now) -> None:
        """At the beginning of a critics' turn: move p if enough batches have gone by."""
        new = self.counted != now.images
        due = new & (self.batches >= self.interval)
        r = self.total / self.rows.clamp(min=1)
        move = torch.sign(r - self.target) * (self.rows > 0) * (now.images - self.since) / self.speed
        self.p.copy_(torch.where(due, (self.p + move).clamp(0, self.cap), self.p))
        self.since.copy_(torch.where(due, now.images, self.since))
        for sum_ in (self.total, self.rows, self.batches):
            sum_.mul_(~due)
        self.batches += new
        self.counted.fill_(now.images)

    @torch.no_grad()
    def observe(self, real: Tensor, fake: Tensor, counts: Tensor | None = None) -> None:
        """Logits [N, ...] of either side, of equal shapes; `counts` bool [N]: which reals are to be looked at."""
        seen = torch.ones_like(real)
        if counts is not None:
            seen = seen * counts.view(-1, *[1] * (real.dim() - 1))
        other = fake
        if self.signal == "centred":
            other = ((real * seen).sum() / seen.sum().clamp(min=1) + fake.mean()) / 2
        self.total += (torch.sign(real - other) * seen).sum()
        self.rows += seen.sum()
