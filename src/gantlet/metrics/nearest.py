"""Who is near whom: blocks of distances from one matrix product each, every close call settled in float64.

|x - y|^2 = |x|^2 + |y|^2 - 2 x.y rounds by about |x|^2 times the machine's epsilon, which may be more than the distance.
So rows are centred, and a block holds lower bounds of the distances, less by a bound on that rounding: what a lower
bound rules out is out, and the few that are left are measured as distances are defined, in float64. Memory is that of
a few blocks, whatever the number of rows. Balls are closed; a point within rounding of the edge is inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.metrics.cloud import COLUMNS, ROWS, Cloud, able, blocks, lower, nonzero, steps

SPARE = 4  # candidates beyond the k wanted: few rows then have to be looked at again
CROWDED = 32  # more than one pair in so many unclear: the whole block again in float64


class Near(NamedTuple):
    """The nearest rows of each row, nearest first."""

    distance: Tensor  # float64 [n, k]
    row: Tensor  # int64 [n, k]


class Pairs(NamedTuple):
    """Some pairs of rows, x_i and y_j."""

    i: Tensor  # int64 [h]
    j: Tensor
    in_x: Tensor  # bool [h]: is y_j in the ball of x_i?
    in_y: Tensor  # bool [h]: is x_i in the ball of y_j?


def neighbours(x: Tensor, k: int) -> Near:
    """The k nearest other rows of each row of x [n, d], n > k; equal rows are 0 apart."""
    cloud = Cloud.around(able(x))
    return _search(cloud, cloud, k)


def nearest(x: Tensor, y: Tensor, k: int = 1) -> Near:
    """The k rows of y [m, d] nearest to each row of x [n, d], m >= k."""
    b = Cloud.around(able(y))
    return _search(b.seeing(x), b, k)


def nearest_angle(x: Tensor, y: Tensor) -> Tensor:
    """The least 1 - |cos(x_i, y_j)| over j, float64 [n]; a row of zeros is at 1 from all but another row of zeros.

    1 - |cos| is |u - v|^2 / 2 of the unit vectors, the nearer of v and -v taken: nothing cancels where they are close.
    """
    x, y = able(x), able(y)
    u, ahead = Cloud.directions(x), y.any(1)
    blank, apart = ~x.any(1), torch.ones(len(x), dtype=torch.float64, device=x.device)
    for sign in (1.0, -1.0) if bool((x < 0).any()) or bool((y < 0).any()) else (1.0,):
        if bool(ahead.any()):
            v = Cloud.directions(y if bool(ahead.all()) else y[ahead], sign)
            apart = torch.minimum(apart, _search(u, v, 1).distance.squeeze(1).square() / 2)
    return torch.where(blank, float(ahead.all()), apart)


def within(x: Tensor, y: Tensor | None, rx: Tensor, ry: Tensor | None = None) -> Iterator[Pairs]:
    """All pairs with y_j in the ball rx_i around x_i, or x_i in the ball ry_j around y_j, some at a time.

    Without y: the pairs i < j of rows of x.
    """
    a = Cloud.around(able(x))
    b = a if y is None else a.seeing(y)
    ra, rb = a.squared(rx), b.squared(torch.full_like(b.matrix[:, 0], -1.0) if ry is None else ry)
    for rows, columns, one, two in blocks(a, b, a.dtype):
        low = lower(one, two)
        near = low <= (ra[rows] * (1 + 1e-6)).to(low.dtype).unsqueeze(1)  # no radius rounds down
        near |= low <= (rb[columns] * (1 + 1e-6)).to(low.dtype)
        at = nonzero(near.triu_(1) if a is b and rows.start == columns.start else near, most=near.numel())
        if at is None or len(at[0]) == 0:
            continue
        i, j = at[0] + rows.start, at[1] + columns.start
        verdict = _Verdict(ra[i], rb[j])
        verdict.hear(low[at], one.slack[at[0]] + two.slack[at[1]])
        if len(verdict.doubt) * CROWDED > low.numel():
            one, two = a.block(rows, torch.float64), b.block(columns, torch.float64)
            m, n = (side[verdict.doubt] for side in at)
            verdict.hear(lower(one, two)[m, n], one.slack[m] + two.slack[n])
        if len(verdict.doubt) * CROWDED <= low.numel():  # else masses of copies: in, to the rounding of float64
            apart = a.apart(b, i[verdict.doubt], j[verdict.doubt]) * a.unit**2
            verdict.hear(apart * (1 - 1e-12), torch.zeros_like(apart))  # a tie is in
        yield Pairs(i, j, verdict.in_x, verdict.in_y)


class _Verdict:
    """Which of some pairs are in each other's balls, of squared radii rx and ry; in until something says otherwise."""

    def __init__(self, rx: Tensor, ry: Tensor) -> None:
        self.rx, self.ry = rx, ry
        self.in_x, self.in_y = (torch.ones_like(r, dtype=torch.bool) for r in (rx, ry))
        self.doubt = torch.arange(len(rx), device=rx.device)

    def hear(self, low: Tensor, slack: Tensor) -> None:
        """The squared distances of those in doubt are in low .. low + 2 slack."""
        low, unsure = low.double(), torch.zeros_like(self.doubt, dtype=torch.bool)
        for inside, radius in ((self.in_x, self.rx[self.doubt]), (self.in_y, self.ry[self.doubt])):
            inside[self.doubt] = low <= radius
            unsure |= (low <= radius) & (low + 2 * slack.double() > radius)
        self.doubt = self.doubt[unsure]


# ---- the k nearest ------------------------------------------------------------------------------------------------


class _Best:
    """The k smallest values that each of n rows was offered, and where they were."""

    def __init__(self, n: int, k: int, like: Tensor) -> None:
        self.value = like.new_full((n, k), float("inf"))
        self.index = like.new_zeros((n, k), dtype=torch.int64)

    def offer(self, block: Tensor, row: int, column: int, *, turned: bool = False) -> None:
        """Values [m, n] of rows from `row` on, at columns from `column` on; `turned`: of columns, at rows."""
        m, n = reversed(block.shape) if turned else block.shape
        rows, k = slice(row, row + m), self.value.shape[1]
        worst = self.value[rows, -1]
        at = nonzero(block < (worst if turned else worst.unsqueeze(1)), most=m * n // 16)
        if at is None:
            value, index = (block.T if turned else block).topk(min(k, n), dim=1, largest=False)
        elif len(at[0]):
            value, index = _ranked(at[turned], at[not turned], block[at], m, k)
        else:
            return
        value, order = torch.cat([self.value[rows], value], 1).topk(k, dim=1, largest=False)
        self.value[rows], self.index[rows] = value, torch.cat([self.index[rows], index + column], 1).gather(1, order)


def _ranked(row: Tensor, column: Tensor, value: Tensor, m: int, k: int) -> tuple[Tensor, Tensor]:
    """Scattered values as the k least of each of m rows [m, k], infinity where there are fewer."""
    order = value.argsort()
    order = order[row[order].argsort(stable=True)]
    row = row[order]
    rank = torch.arange(len(row), device=row.device) - torch.searchsorted(row, row)
    order, row, rank = (t[rank < k] for t in (order, row, rank))
    least, index = value.new_full((m, k), float("inf")), row.new_zeros((m, k))
    least[row, rank], index[row, rank] = value[order], column[order]
    return least, index


def _search(a: Cloud, b: Cloud, k: int) -> Near:
    """The k nearest rows of b to each row of a; of the other rows, where the two are one."""
    have = len(b) - (a is b)
    if have < k:
        raise InputError(f"{k} nearest neighbours need {k + (a is b)} samples or more, there are {len(b)}")
    best = _Best(len(a), min(k + SPARE, have), a.like())
    for rows, columns, one, two in blocks(a, b, a.dtype):
        low, done = lower(one, two), 0
        if a is b and rows.start == columns.start:
            low.fill_diagonal_(float("inf"))
            done = rows.stop - rows.start
        best.offer(low, rows.start, columns.start)
        if a is b and columns.start + done < columns.stop:
            best.offer(low[:, done:], columns.start + done, rows.start, turned=True)
    everyone = torch.arange(len(a), device=best.index.device)
    near = _measured(a, b, everyone, best.index)
    sure = (near.distance[:, k - 1] * a.unit).square() <= best.value[:, -1]  # no row that was left out is nearer
    if best.value.shape[1] < have and not bool(sure.all()):
        for some in torch.split(everyone[~sure], ROWS // 4):
            again = _finely(a, b, some, best.value.shape[1])
            near.distance[some], near.row[some] = again.distance, again.row
    return Near(near.distance[:, :k], near.row[:, :k])


def _finely(a: Cloud, b: Cloud, some: Tensor, k: int) -> Near:
    """The same for a few rows of a, in float64 throughout."""
    one = a.block(some, torch.float64)
    best = _Best(len(some), k, one.x)
    for columns in steps(len(b), COLUMNS):
        low = lower(one, b.block(columns, torch.float64))
        if a is b:
            low.masked_fill_(
                torch.arange(columns.start, columns.stop, device=low.device) == some.unsqueeze(1), torch.inf
            )
        best.offer(low, 0, columns.start)
    return _measured(a, b, some, best.index)


def _measured(a: Cloud, b: Cloud, rows: Tensor, index: Tensor) -> Near:
    """Candidates [n, k] in the order of their distances."""
    apart = a.apart(b, rows.repeat_interleave(index.shape[1]), index.flatten()).view(index.shape)
    index, order = index.sort(1)
    apart, order = apart.gather(1, order).sort(dim=1, stable=True)
    return Near(apart.sqrt(), index.gather(1, order))
