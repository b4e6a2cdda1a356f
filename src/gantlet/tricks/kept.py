"""Samples that are remembered."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Kept(nn.Module):
    """Rows [size, *shape] of float32 in a buffer, held as their bits: a mean over ranks must not blend samples."""

    bits: Tensor
    filled: Tensor  # bool [size]

    def __init__(self, size: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("bits", torch.zeros(size, *shape, dtype=torch.int32))
        self.register_buffer("filled", torch.zeros(size, dtype=torch.bool))

    def rows(self, where: Tensor, dtype: torch.dtype) -> Tensor:
        """Copies of the rows at these places (int64 [n])."""
        return self.bits[where].view(torch.float32).to(dtype)

    @torch.no_grad()
    def keep(self, where: Tensor, rows: Tensor) -> None:
        """Put rows at places, none of them twice."""
        self.bits.index_copy_(0, where, rows.detach().to(torch.float32).contiguous().view(torch.int32))
        self.filled.index_fill_(0, where, True)
