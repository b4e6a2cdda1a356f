"""The minibatch-stddev layer, for the trick and for the critics that have it built in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gantlet.core.errors import InputError


class Spread(nn.Module):
    """sqrt(Var + 1e-8) of each feature over a group of rows, averaged over features and places. [N, ...] -> [N, 1]

    `group`: rows a statistic is taken over; null: the whole batch. InputError where a batch is not made of groups;
    `who` is named in it.
    """

    def __init__(self, group: int | None, who: str = "trick 'minibatch-stddev'") -> None:
        super().__init__()
        self.group, self.who = group, who

    def forward(self, h: Tensor) -> Tensor:
        n = len(h)
        size = min(self.group or n, n)
        if n % size:
            raise InputError(
                f"{self.who}: {n} rows are not groups of {size}; "
                "use a batch that is a multiple of it, or group=null for the whole batch"
            )
        groups = h.reshape(n // size, size, -1)
        spread = torch.sqrt(groups.var(1, unbiased=False) + 1e-8).mean(1)
        return spread.view(-1, 1, 1).expand(-1, size, 1).reshape(n, 1)
