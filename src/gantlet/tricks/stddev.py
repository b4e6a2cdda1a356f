"""Minibatch standard deviation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from gantlet.core.game import Spec
from gantlet.core.registry import trick
from gantlet.core.trick import Trick
from gantlet.nets.spread import Spread
from gantlet.tricks.beside import beside_last


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
