"""Rows of features seen from their middle, handed out block by block, and lower bounds of the distances of two blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gantlet.core.errors import InputError

ROWS, COLUMNS = 2048, 4096  # of a block: 32 MiB in float32
_EXACT = 2**18  # numbers at a time where distances are measured one by one: they stay in the processor's cache


class Block(NamedTuple):
    """Some rows, ready for a matrix product."""

    x: Tensor  # [n, d]
    norm: Tensor  # [n], squared, less the slack
    slack: Tensor  # [n], bounds this row's part in the rounding of a squared distance


class Cloud:
    """Rows [n, d] as (x weight - centre) unit; only the block at hand is ever copied.

    Distances and radii are in these units inside, where the rows' mean square is about 1: no square over- or underflows.
    """

    def __init__(self, matrix: Tensor, centre: Tensor, unit: float, weight: Tensor | None = None) -> None:
        if matrix.ndim != 2 or matrix.shape[1] != len(centre):
            raise InputError(
                f"rows of {len(centre)} features are wanted, not {list(matrix.shape)}; make both by one rule"
            )
        self.matrix, self.centre, self.unit, self.weight = matrix, centre, unit, weight
        fine = torch.get_float32_matmul_precision() == "highest"  # else a product may keep 8 or 11 bits
        self.dtype = torch.float32 if fine else torch.float64

    def __len__(self) -> int:
        return len(self.matrix)

    @staticmethod
    def around(matrix: Tensor) -> Cloud:
        """Rows seen from their mean, in units of their spread. InputError for NaN or infinite values."""
        if matrix.ndim != 2 or len(matrix) == 0:
            raise InputError(f"rows of features [n, d] are wanted, not {list(matrix.shape)}")
        pieces = torch.split(matrix, ROWS)
        centre = torch.stack([p.double().sum(0) for p in pieces]).sum(0) / len(matrix)
        spread = math.fsum(float((p - centre).square().sum()) for p in pieces) / len(matrix)
        if not math.isfinite(spread):
            raise InputError("the features hold NaN or infinite values; look at the samples")
        return Cloud(matrix, centre.to(matrix.dtype), 1 / math.sqrt(spread) if spread else 1.0)

    @staticmethod
    def directions(matrix: Tensor, sign: float = 1.0) -> Cloud:
        """Rows as unit vectors (times `sign`); rows of zeros stay."""
        length = torch.cat([p.double().norm(dim=1, keepdim=True) for p in torch.split(matrix, ROWS)])
        if not bool(length.isfinite().all()):
            raise InputError("the features hold NaN or infinite values; look at the samples")
        return Cloud(matrix, matrix.new_zeros(matrix.shape[1]), 1.0, torch.where(length > 0, sign / length, 0.0))

    def seeing(self, matrix: Tensor) -> Cloud:
        """Other rows, seen from here."""
        return Cloud(matrix.to(self.matrix.device), self.centre, self.unit)

    def like(self) -> Tensor:
        """No rows, of the type that blocks are searched in."""
        return self.matrix.new_empty(0, dtype=self.dtype)

    def block(self, rows: slice | Tensor, dtype: torch.dtype) -> Block:
        """Some rows with their norms. InputError for NaN or infinite values."""
        x = self.matrix[rows].to(dtype)
        x = x - self.centre.to(dtype) if self.weight is None else x * self.weight[rows].to(dtype)
        x = x.mul_(self.unit)
        norm = x.square().sum(1)
        if not bool(norm.isfinite().all()):
            raise InputError("the features hold NaN or infinite values; look at the samples")
        slack = norm * self.rounding(dtype)
        return Block(x, norm - slack, slack)

    def rounding(self, dtype: torch.dtype) -> float:
        """Bounds the rounding of a squared distance by a product, over |x|^2 + |y|^2: errors of d terms add up as noise."""
        return 4 * (1 + math.sqrt(self.matrix.shape[1])) * torch.finfo(dtype).eps

    def squared(self, radius: Tensor) -> Tensor:
        """Radii [n], squared in the units inside, float64; negative ones hold nothing."""
        r = radius.to(self.matrix.device, torch.float64) * self.unit
        return r.square().copysign(r)

    def apart(self, other: Cloud, i: Tensor, j: Tensor) -> Tensor:
        """Squared distances of pairs of rows as they are defined, float64 [len(i)], in the units outside."""
        some = max(1, _EXACT // self.matrix.shape[1])
        found = torch.empty(len(i), dtype=torch.float64, device=i.device)  # small results kept apart would hold memory
        for part in steps(len(i), some):
            step = self._rows(i[part]).sub_(other._rows(j[part]))
            found[part] = step.mul_(step).sum(1)
        return found

    def _rows(self, index: Tensor) -> Tensor:
        x = self.matrix[index].double()
        return x if self.weight is None else x * self.weight[index]


def able(x: Tensor) -> Tensor:
    """Rows where float64 is known, which it is not on mps."""
    return x.cpu() if x.device.type == "mps" else x


def steps(n: int, size: int, first: int = 0) -> Iterator[slice]:
    """first .. n in pieces."""
    return (slice(start, min(start + size, n)) for start in range(first, n, size))


def blocks(a: Cloud, b: Cloud, dtype: torch.dtype) -> Iterator[tuple[slice, slice, Block, Block]]:
    """(rows, columns, and the two blocks) of every pair; where a is b only columns from the rows' first on."""
    for rows in steps(len(a), ROWS):
        one = a.block(rows, dtype)
        for columns in steps(len(b), COLUMNS, rows.start if a is b else 0):
            yield rows, columns, one, b.block(columns, dtype)


def lower(one: Block, two: Block) -> Tensor:
    """Lower bounds of the squared distances [n, m]: |x|^2 + |y|^2 - 2 x.y less its rounding."""
    return torch.addmm(two.norm, one.x, two.x.T, alpha=-2).add_(one.norm.unsqueeze(1))


def nonzero(mask: Tensor, most: int) -> tuple[Tensor, Tensor] | None:
    """Where a mask [n, m] of few is true (rows, columns), eight at a time; None for more than about `most`."""
    flat, n = mask.contiguous().view(-1), mask.shape[1]
    whole = flat.numel() // 8 * 8
    words = flat[:whole].view(torch.int64).nonzero().squeeze(1)
    if len(words) > most:
        return None
    inside = flat[:whole].view(-1, 8)[words].nonzero()
    rest = flat[whole:].nonzero().squeeze(1) + whole
    found = torch.cat([words[inside[:, 0]] * 8 + inside[:, 1], rest])
    return found.div(n, rounding_mode="floor"), found % n
