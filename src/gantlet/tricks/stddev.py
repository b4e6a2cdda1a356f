"""Minibatch standard deviation."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.registry import trick
from gantlet.core.trick import Trick
from gantlet.tricks.beside import beside_last


class Spread(nn.Module):
    """sqrt(Var + 1e-8) of each feature over a group of rows, averaged over features and places. [N, ...] -> [N, 1]"""

    def __init__(self, group: int | None) -> None:
        super().__init__()
        self.group = group

    def forward(self, h: Tensor) -> Tensor:
        n = len(h)
        size = min(self.group or n, n)
        if n % size:
            raise InputError(
                f"trick 'minibatch-stddev': {n} rows are not groups of {size}; "
                "use a batch that is a multiple of it, or group=null for the whole batch"
            )
        groups = h.reshape(n // size, size, -1)
        spread = torch.sqrt(groups.var(1, unbiased=False) + 1e-8).mean(1)
        return spread.view(-1, 1, 1).expand(-1, size, 1).reshape(n, 1)


@trick.named("minibatch-stddev")
class MinibatchStddev(Trick):
    """Minibatch standard deviation: D also reads mean sqrt(Var_batch f(x)), one more channel (Karras et al. 2018, 3)."""

    couples_batch = True

    def __init__(
        self,
        *,
        group: Annotated[int, Field(ge=2)] | None = 4,  # rows a statistic is taken over; null: the whole batch
    ) -> None:
        super().__init__()
        self.group = group

    def dress(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
        return beside_last(net, lambda reads: Spread(self.group), 1, "minibatch-stddev") if role == "D" else net
