"""The columns of points: their means and deviations, and whether networks will bear them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gantlet.data.dataset import Array

BLOCK = 4096  # rows read at a time
APART = 5.0  # deviations that differ by more: the critic looks at the widest column and hardly sees the others
SMALL, LARGE = 0.1, 10.0  # deviations for which first weights, rates and penalties are made
FAR = 3.0  # deviations between a mean and 0
EVEN = 1e-7  # of its mean: a deviation that is rounding alone in float32
SHOWN = 4
STANDARDISED = "standardise each column, x = (x - x.mean(0)) / x.std(0), and take samples back with x * std + mean"


class Columns(NamedTuple):
    """Of each column; of a constant one the deviation is 0."""

    means: list[float]
    deviations: list[float]

    def said(self) -> str:
        """Mean and deviation of the first columns."""
        pairs = [f"{m if abs(m) > d * 1e-6 else 0:.3g} +- {d:.3g}" for m, d in zip(self.means, self.deviations)]
        return ", ".join(pairs[: 2 * SHOWN]) + (f", and {len(pairs) - 2 * SHOWN} more" * (len(pairs) > 2 * SHOWN))

    def warnings(self, way: str = STANDARDISED) -> list[str]:
        """What is likely to go wrong, with the way out."""
        still = [i for i, deviation in enumerate(self.deviations) if deviation == 0]
        found = [f"column {_listed(still)} (the first is 0) has one value alone: leave it out"] * bool(still)
        unlike = self._unlike()
        return found + [f"{unlike}: training on such points often collapses; {way}"] * bool(unlike)

    def _unlike(self) -> str:
        """How the columns are not of mean 0 and deviation 1, or nearly."""
        moving = [(i, m, d) for i, (m, d) in enumerate(zip(self.means, self.deviations)) if d > 0]
        least, most = (pick((d for _, _, d in moving), default=1.0) for pick in (min, max))
        off = [i for i, mean, deviation in moving if abs(mean) > FAR * deviation]
        said = [f"deviations of {least:.3g} to {most:.3g} differ {most / least:.0f}-fold"] * (most > APART * least)
        if not said and (least < SMALL or most > LARGE):
            said = [f"deviations of {least:.3g} to {most:.3g} are far from 1"]
        if off:
            said.append(f"the mean of column {_listed(off)} (the first is 0) is more than {FAR:g} deviations from 0")
        return ", and ".join(said)


def columns_of(take: Callable[[Array], Array], count: int) -> Columns:
    """Of rows 0 .. count - 1 of points, which `take` reads by number."""
    shift = take(np.arange(min(BLOCK, count))).astype(np.float64).mean(0)  # near the mean: squares lose no digits
    total = squares = np.zeros_like(shift)
    for first in range(0, count, BLOCK):
        rows = take(np.arange(first, min(first + BLOCK, count))).astype(np.float64)
        total, squares = total + (rows - shift).sum(0), squares + ((rows - shift) ** 2).sum(0)
    rest = total / count
    means, deviations = shift + rest, np.sqrt(np.maximum(squares / count - rest**2, 0))
    deviations[deviations < EVEN * np.abs(means)] = 0
    return Columns(means.tolist(), deviations.tolist())


def _listed(columns: list[int]) -> str:
    return ", ".join(map(str, columns[:SHOWN])) + (f" and {len(columns) - SHOWN} more" * (len(columns) > SHOWN))
