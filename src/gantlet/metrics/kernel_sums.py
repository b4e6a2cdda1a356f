"""Means of a kernel over pairs of samples, remembered by the sets they are of: less one group they cost nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.metrics.features import Features, matrix_of
from gantlet.metrics.interval import GROUPS
from gantlet.metrics.sources import Chosen, Joined, Kept, Source

Kernel = Callable[[Tensor, Tensor], Tensor]  # rows float64 [n, d] and [m, d] -> [n, m]
_BLOCK = 2048  # rows of either side at a time: 32 MiB of kernel values


class Part:
    """Some rows of a side: what was summed up of them, their number, and the rows where a sum is missing."""

    def __init__(self, kept: Kept | None, count: int, rows: Callable[[], Tensor]) -> None:
        self.kept, self.count, self.rows = kept, count, rows

    def sum(self, other: Part, kernel: Kernel, unbiased: bool, of: tuple[Any, ...]) -> float:
        """Over all pairs with another part, or with itself; where unbiased, without the pairs of one row."""

        def make(_: Source) -> float:
            if self is other:
                return _within(self.rows(), kernel, unbiased)
            return _across(self.rows(), other.rows(), kernel)

        if self.kept is None or other.kept is None or not of:
            return make(())
        return self.kept.sum_up(("pairs", *of, self is other, other.kept), make)


def sides_of(real: Source, fake: Source, features: Features, batch: int) -> tuple[list[Part], list[Part]]:
    """Both sides in parts; the fakes in the groups that a jackknife will leave out."""
    return _parts(real, features, batch, deal=False), _parts(fake, features, batch, deal=True)


def _parts(source: Source, features: Features, batch: int, *, deal: bool) -> list[Part]:
    """A joined source as what it is joined of, a kept one dealt out as a jackknife will; others as they are."""
    if isinstance(source, Joined):
        return [_part(part, features, batch) for part in source.parts]
    x = matrix_of(source, features, batch=batch)
    if not isinstance(source, Kept):
        return [Part(None, len(x), lambda: x)]
    if not deal or isinstance(source, Chosen) or len(x) < 2 * GROUPS:
        return [Part(source, len(x), lambda: x)]
    return [_part(g, features, batch, x[g.index.to(x.device)]) for g in source.groups(GROUPS)]


def _part(kept: Kept, features: Features, batch: int, rows: Tensor | None = None) -> Part:
    def read() -> Tensor:
        return matrix_of(kept, features, batch=batch) if rows is None else rows

    return Part(kept, kept.sum_up(("rows", features.key), lambda _: len(read())), read)


def mmd(r: Sequence[Part], f: Sequence[Part], kernel: Kernel, unbiased: bool, of: tuple[Any, ...] = ()) -> float:
    """mean k(x, x') + mean k(y, y') - 2 mean k(x, y); `of` names kernel and features, without it nothing is kept."""
    n, m = size_of(r), size_of(f)
    least = 2 if unbiased else 1
    if min(n, m) < least:
        raise InputError(f"a kernel distance needs at least {least} samples a side, there are {n} and {m}")
    across = math.fsum(a.sum(b, kernel, unbiased, of) for b in f for a in r) / (n * m)
    return math.fsum([_inside(r, kernel, unbiased, of), _inside(f, kernel, unbiased, of), -2 * across])


def _inside(side: Sequence[Part], kernel: Kernel, unbiased: bool, of: tuple[Any, ...]) -> float:
    """The mean over pairs of one side."""
    n = size_of(side)
    once = [a.sum(a, kernel, unbiased, of) for a in side]
    twice = [2 * a.sum(b, kernel, unbiased, of) for i, a in enumerate(side) for b in side[:i]]
    return math.fsum([*once, *twice]) / (n * (n - 1) if unbiased else n * n)


def size_of(side: Sequence[Part]) -> int:
    """How many rows."""
    return sum(part.count for part in side)


def rows_of(side: Sequence[Part]) -> Tensor:
    """All of them in one matrix."""
    return torch.cat([part.rows() for part in side])


def _across(x: Tensor, y: Tensor, kernel: Kernel) -> float:
    """The sum of the kernel over all pairs, in blocks."""
    return math.fsum(float(kernel(a, b).sum()) for b in _blocks(y) for a in _blocks(x))


def _within(x: Tensor, kernel: Kernel, unbiased: bool) -> float:
    """The sum over all pairs of one set's rows; a pair of two blocks is looked at once and counts for its mirror."""
    sums = []
    for i, a in enumerate(_blocks(x)):
        own = kernel(a, a)
        rest = x[(i + 1) * _BLOCK :]
        sums += [float(own.sum()), -float(own.diagonal().sum()) if unbiased else 0.0, 2 * _across(a, rest, kernel)]
    return math.fsum(sums)


def _blocks(x: Tensor) -> Iterator[Tensor]:
    """Float64 rows, so many at a time."""
    for first in range(0, len(x), _BLOCK):
        some = x[first : first + _BLOCK]
        yield (some.cpu() if some.device.type == "mps" else some).double()  # mps knows no float64
