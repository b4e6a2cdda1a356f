"""Tests of two samples: tails of the binomial and the normal, and ranks with their errors; all in float64."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_MANY = 1e5  # trials over which the binomial tail is the normal's with continuity
_TINY = 1e-300


def normal_tail(z: float) -> float:
    """P(Z >= z) of the standard normal."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def binomial_tail(hits: float, trials: float, share: float) -> float:
    """P(X >= hits) of `trials` with this chance each: I_share(hits, trials - hits + 1), exact for whole numbers.

    The regularised incomplete beta function also answers for trials that are no whole number; over 100,000 trials the
    normal tail with continuity stands for it.
    """
    if hits <= 0:
        return 1.0
    if trials > _MANY:
        return normal_tail((hits - 0.5 - trials * share) / math.sqrt(trials * share * (1 - share)))
    return _beta(share, hits, trials - hits + 1)


def _beta(x: float, a: float, b: float) -> float:
    """I_x(a, b) = x^a (1 - x)^b / (a B(a, b)) / (1 + d1 / (1 + d2 / ...)) (DLMF 8.17.22), on its fast side."""
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(1 - x, b, a)
    value, up, down = 1.0, 1.0, 0.0  # the fraction by Lentz 1976
    for j in range(1, 10_000):
        m = j // 2
        if j % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        down = 1 / (1 + term * down or _TINY)
        up = 1 + term / up or _TINY
        value *= up * down
        if abs(up * down - 1) < 1e-15:
            break
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(front) / a / value


def rank_test(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Mann and Whitney 1947: (z, its standard error over x) of U, the pairs with x_i > y_j, halves where they are equal.

    z = (U - m n / 2) / s with s^2 = m n / 12 (N + 1 - sum (t^3 - t) / N (N - 1)) over ties of t; 0 where all are equal.
    """
    m, n = len(x), len(y)
    both = m + n
    _, ties = torch.unique(torch.cat([x, y]), return_counts=True)
    lost = float((ties.double() ** 3 - ties).sum()) / (both * (both - 1))
    spread = math.sqrt(max(0.0, m * n / 12 * (both + 1 - lost)))
    if spread == 0:
        return 0.0, 0.0
    y = y.sort().values
    below = (torch.searchsorted(y, x) + torch.searchsorted(y, x, right=True)).double() / 2  # of y, under each x
    error = float(below.std(correction=1)) * math.sqrt(m) if m > 1 else 0.0
    return (float(below.sum()) - m * n / 2) / spread, error / spread
