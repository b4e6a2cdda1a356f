"""How sure a score is: the 95 % interval of what fresh fakes of the same number would score on average.

The reference stays as it is; what its own size costs is what the floor shows. A bootstrap of a distance is far off (it
adds duplicates, which a distance sees), so it is not offered: independent seeds where there is a generator, else a
delete-group jackknife, and for means over samples their own normal interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from gantlet.core.errors import InputError

GROUPS = 10
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
NORMAL = 1.959964


class Interval(NamedTuple):
    """95 %, with how it was found and from how many parts."""

    low: float
    high: float
    how: str  # "seeds", "jackknife", "own"
    of: int = 0


def student(freedom: int) -> float:
    """The 97.5 % point of Student's t: tabulated to 30 degrees of freedom, then by Cornish and Fisher 1938."""
    if freedom < 1:
        raise InputError(f"an interval needs at least 2 parts, there {'is 1' if freedom == 0 else 'are none'}")
    z = NORMAL
    if freedom <= len(_T):
        return _T[freedom - 1]
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def jackknife(value: float, less: Sequence[float]) -> Interval:
    """Around `value`, from the values with one of g equal groups deleted: s^2 = (g - 1) / g sum (v_j - mean)^2.

    Quenouille 1956, Tukey 1958; Shao and Wu 1989 for groups. Student's t with g - 1 degrees of freedom.
    """
    g = len(less)
    reach = student(g - 1)
    mean = math.fsum(less) / g
    error = math.sqrt((g - 1) / g * math.fsum((v - mean) ** 2 for v in less))
    return Interval(value - reach * error, value + reach * error, "jackknife", g)


def over_seeds(values: Sequence[float]) -> Interval:
    """Around the mean of the scores of k independent sets of fakes, by Student's t."""
    k = len(values)
    reach = student(k - 1)
    mean = math.fsum(values) / k
    error = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (k - 1) / k)
    return Interval(mean - reach * error, mean + reach * error, "seeds", k)


def of_mean(mean: float, deviation: float, count: int) -> tuple[float, float]:
    """A metric's own interval: a mean over `count` samples with this standard deviation."""
    reach = NORMAL * deviation / math.sqrt(max(1, count))
    return mean - reach, mean + reach


def of_share(hits: int, count: int) -> tuple[float, float]:
    """A metric's own interval: a share of `count` samples, by Wilson 1927, right at 0 and 1 too."""
    p, z2 = hits / count, NORMAL**2
    middle = (p + z2 / (2 * count)) / (1 + z2 / count)
    reach = NORMAL / (1 + z2 / count) * math.sqrt(p * (1 - p) / count + z2 / (4 * count**2))
    return max(0.0, middle - reach), min(1.0, middle + reach)
