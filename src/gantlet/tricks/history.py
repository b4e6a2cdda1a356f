"""Historical averaging."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Evidence
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.registry import trick
from gantlet.core.trick import Trick
from gantlet.core.when import Now, Schedule, at


class Past(nn.Module):
    """The mean of a network's weights over all batches so far, this one included."""

    mean: Tensor
    count: Tensor
    images: Tensor  # at which the last one was counted: the pieces of one batch count once

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.register_buffer("mean", _flat(net).detach().clone())
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("images", torch.full((), -1, dtype=torch.int64))

    def forward(self, net: nn.Module, now: Now) -> Tensor:
        """|theta - mean of theta|^2, the mean taken as a constant."""
        theta = _flat(net)
        if theta.shape != self.mean.shape:
            raise InputError("trick 'historical-averaging': a later trick gave this network more weights; list it last")
        with torch.no_grad():
            new = self.images != now.images
            self.count += new
            self.mean += torch.where(new, (theta - self.mean) / self.count, 0)
            self.images.fill_(now.images)
        return (theta - self.mean).square().sum()


def _flat(net: nn.Module) -> Tensor:
    return torch.cat([p.reshape(-1) for p in net.parameters()])


@trick.named("historical-averaging")
class HistoricalAveraging(Trick):
    """Historical averaging: both players also minimise |theta - 1/t sum_i theta_i|^2 (Salimans et al. 2016, section 3.3)."""

    late = True

    def __init__(
        self,
        *,
        weight: Annotated[Schedule, Field(ge=0)] = 0.01,  # the paper gives none
    ) -> None:
        super().__init__()
        self.weight = weight
        self.nets: list[nn.Module] = []  # a plain list: they are other modules' children
        self.past = nn.ModuleList()

    def dress(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
        self.nets.append(net)
        self.past.append(Past(net))
        return net

    def d_terms(self, seen: Evidence) -> dict[str, Tensor]:
        return self._terms(seen.critics, seen.now)

    def g_terms(self, seen: Evidence) -> dict[str, Tensor]:
        return {} if seen.G is None else self._terms(seen.G, seen.now)

    def _terms(self, player: nn.Module, now: Now) -> dict[str, Tensor]:
        inside = {id(module) for module in player.modules()}
        found = [past(net, now) for net, past in zip(self.nets, self.past, strict=True) if id(net) in inside]
        return {"": at(self.weight, now) * torch.stack(found).sum()} if found else {}
