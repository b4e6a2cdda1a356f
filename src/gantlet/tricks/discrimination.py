"""Minibatch discrimination."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.game import Spec
from gantlet.core.registry import trick
from gantlet.core.trick import Trick
from gantlet.tricks.beside import beside_last

Count = Annotated[int, Field(ge=1)]


class Likeness(nn.Module):
    """Mean over j != i of exp(-|M_ib - M_jb|_1), M_i = f(x_i) T in R^(B x C); maps are averaged first. [N, ...] -> [N, B]

    The paper's sum over all j is (N - 1) times this and 1 for j = i: kernels near N at the start would be all D reads.
    """

    def __init__(self, reads: int, kernels: int, width: int) -> None:
        super().__init__()
        self.shape = (kernels, width)
        self.T = nn.Parameter(0.05 * torch.randn(reads, kernels * width))

    def forward(self, h: Tensor) -> Tensor:
        if h.dim() > 2:  # [N, C, H, W] of a convolution, [N, ..., C] of a linear layer
            h = h.flatten(2).mean(2) if h.dim() == 4 else h.flatten(1, -2).mean(1)
        rows = (h @ self.T).view(-1, *self.shape)
        near = torch.exp(-(rows.unsqueeze(1) - rows.unsqueeze(0)).abs().sum(3))
        return (near.sum(1) - 1) / max(len(rows) - 1, 1)  # a row is as near as can be to itself


@trick.named("minibatch-discrimination")
class MinibatchDiscrimination(Trick):
    """Minibatch discrimination: D reads E_j exp(-|M_i - M_j|_1), how like the others a row is (Salimans et al. 2016, 3.2).

    M = f(x) T is learned; what is read stands beside the input of the critic's last layer. It is the mean over the
    others where the paper has the sum over all: another scale and the constant 1, so that no batch size saturates D.
    """

    couples_batch = True

    def __init__(
        self,
        *,
        kernels: Count = 50,  # similarities a row gets, the paper's B; it gives no numbers
        width: Count = 5,  # numbers each compares, the paper's C
    ) -> None:
        super().__init__()
        self.kernels, self.width = kernels, width

    def dress(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
        if role != "D":
            return net
        return beside_last(net, self._made, self.kernels, "minibatch-discrimination")

    def _made(self, reads: int) -> nn.Module:
        return Likeness(reads, self.kernels, self.width)
