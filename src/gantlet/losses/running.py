"""Exponential averages that losses keep."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gantlet.core.errors import InputError


class RunningMean(nn.Module):
    """m <- decay m + (1 - decay) v for each of up to `most` numbers, in buffers; the first v is taken as it is.

    A value that is not finite is passed over: the step that said it moves nothing either.
    """

    mean: Tensor
    count: Tensor

    def __init__(self, most: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("mean", torch.zeros(most))
        self.register_buffer("count", torch.zeros(most, dtype=torch.int64))

    @torch.no_grad()
    def update(self, values: Tensor) -> Tensor:
        """The averages [k] after these values [k], in their dtype; a statistic, without a graph."""
        k = len(values)
        if k > len(self.mean):
            raise InputError(f"{k} critics: an average is kept for at most {len(self.mean)}; use fewer critics")
        mean, count, new = self.mean[:k], self.count[:k], values.to(self.mean.dtype)
        good = torch.isfinite(new)
        keep = self.decay * (count > 0).to(mean.dtype)
        mean.copy_(torch.where(good, keep * mean + (1 - keep) * new, mean))
        count.add_(good)
        return mean.to(values.dtype, copy=True)
