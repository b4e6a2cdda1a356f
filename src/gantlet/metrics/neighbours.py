"""Do the fakes lie where the reals lie, and everywhere there? Both sets as unions of balls around their samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.registry import Slot
from gantlet.metrics.about import about
from gantlet.metrics.features import Features, build, matrix_of
from gantlet.metrics.interval import of_mean, of_share
from gantlet.metrics.nearest import neighbours, within
from gantlet.metrics.sources import Joined, Kept, Source, spec_of, sum_up

T = TypeVar("T")
_COMMON = 5  # neighbours looked up at least: what either metric asks for by default, so that one search serves both
_FEW = 1000  # samples under which the balls say more about the counts than about the sets


class Balls(NamedTuple):
    """How n real and m fake samples lie in each other's balls, whose radii reach their own k-th neighbours."""

    around: Tensor  # int64 [m]: real balls that hold each fake
    hits: Tensor  # int64 [n]: fakes in each real ball
    alone: Tensor  # int64 [m]: real balls that hold this fake alone
    reached: Tensor  # int64 [n]: fake balls that hold each real
    needed: Tensor  # int64 [m]: reals that are in this fake's ball alone

    @property
    def counts(self) -> tuple[int, int]:
        """Of reals, of fakes."""
        return len(self.hits), len(self.around)


def balls_of_both(real: Tensor, fake: Tensor, real_radii: Tensor, fake_radii: Tensor) -> Balls:
    """Both sides' balls in one pass over the distances of reals [n, d] and fakes [m, d], with radii [n] and [m]."""
    n, m = len(real), len(fake)
    around, hits, hit_by, reached, reached_by = (
        torch.zeros(size, dtype=torch.int64, device=real_radii.device) for size in (m, n, n, n, n)
    )
    for some in within(real, fake, real_radii, fake_radii):
        for inside, count, which in ((some.in_x, hits, hit_by), (some.in_y, reached, reached_by)):
            i, j = some.i[inside], some.j[inside]
            count += torch.bincount(i, minlength=n)
            which.index_add_(0, i, j)  # where the count ends at 1, this is who
        around += torch.bincount(some.j[some.in_x], minlength=m)
    alone, needed = (
        torch.bincount(who[count == 1], minlength=m) for who, count in ((hit_by, hits), (reached_by, reached))
    )
    return Balls(around, hits, alone, reached, needed)


@registry.metric
@about(interval="own", precision="higher", recall="higher")
def precision_recall(
    real: Source,
    fake: Source,
    *,
    features: Annotated[Any, Slot("feature")] = {"use": "raw"},  # noqa: B006 (read only)
    k: Annotated[int, Field(ge=1)] = 3,  # the paper's choice
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """Share of fakes within the k-th neighbour's distance of some real, and of reals so near a fake (Kynkaanniemi et
    al. 2019, eq. 1 and 2).

    Both are 1 for a set against itself. An outlier among the reals has a large ball and lets bad fakes pass; compare at
    equal counts, with the same k.
    """
    seen, real, fake = build(features, lambda: spec_of(real)), kept(real), kept(fake)
    found = _balls_of(real, fake, seen, k, batch)
    n, m = found.counts
    good, near = int((found.around > 0).sum()), int((found.reached > 0).sum())
    return {
        "precision": good / m,
        "recall": near / n,
        "intervals": {"precision": list(of_share(good, m)), "recall": _of_union(near, n, found.needed)},
        "names": {"precision": seen.called("Precision"), "recall": seen.called("Recall")},
        **_facts(seen, k, n, m),
    }


@registry.metric
@about(interval="own", density="higher", coverage="higher")
def density_coverage(
    real: Source,
    fake: Source,
    *,
    features: Annotated[Any, Slot("feature")] = {"use": "raw"},  # noqa: B006 (read only)
    k: Annotated[int, Field(ge=1)] = 5,  # the paper's choice
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """Mean number of real k-neighbour balls around a fake over k, and share of those balls that hold a fake (Naeem et
    al. 2020).

    Fresh reals have density 1 and coverage 1 - C(n - 1, k) / C(n + m - 1, k), given as `expected_coverage`, which is
    1 - 2^-k for many of each. Density passes 1 where the fakes crowd the densest places; a set against itself has
    (k + 1) / k, its balls being closed and holding their own centres.
    """
    seen, real, fake = build(features, lambda: spec_of(real)), kept(real), kept(fake)
    found = _balls_of(real, fake, seen, k, batch)
    n, m = found.counts
    density, covered = found.around.double() / k, int((found.hits > 0).sum())
    mean = float(density.mean())
    return {
        "density": mean,
        "coverage": covered / n,
        "expected_coverage": 1 - math.prod((n - 1 - i) / (n + m - 1 - i) for i in range(k)),
        "intervals": {
            "density": list(of_mean(mean, float(density.std(correction=1)) if m > 1 else 0.0, m)),
            "coverage": _of_union(covered, n, found.alone),
        },
        "names": {"density": seen.called("Density"), "coverage": seen.called("Coverage")},
        **_facts(seen, k, n, m),
    }


def _balls_of(real: Source, fake: Source, seen: Features, k: int, batch: int) -> Balls:
    """Remembered by the fakes for this real set: the two metrics with one k share one pass."""

    def make(fake: Source) -> Balls:
        radii = [radii_of(side, seen, k, batch=batch) for side in (real, fake)]
        return balls_of_both(*(matrix_of(side, seen, batch=batch) for side in (real, fake)), *radii)

    return sum_up_against(fake, ("balls", seen.key, k), make, of=real)


def radii_of(source: Source, seen: Features, k: int, *, batch: int = 256) -> Tensor:
    """Distance of each sample to its k-th neighbour in its own set, float64 [n]."""

    def make(source: Source) -> Tensor:
        rows = matrix_of(source, seen, batch=batch)
        return neighbours(rows, max(k, min(_COMMON, len(rows) - 1))).distance

    found = sum_up(source, ("radii", seen.key, max(k, _COMMON)), make)
    if k > found.shape[1]:  # of few samples a smaller k was all that could be had before
        found = make(source)
    return found[:, k - 1]


def sum_up_against(
    source: Source,
    key: tuple[Any, ...],
    make: Callable[[Source], T],
    merge: Callable[[list[T]], T] | None = None,
    *,
    of: Source,
) -> T:
    """`sum_up` of a source against another: remembered for this other one alone, where that is kept too."""
    return sum_up(source, (*key, of), make, merge) if isinstance(of, Kept) else make(source)


def kept(source: Source) -> Source:
    """A source that is read several times, ready for it."""
    return source if isinstance(source, Kept | Joined) else Kept(source)


def _of_union(hits: int, n: int, only: Tensor) -> list[float]:
    """The interval of the share of n reals that some fake reaches, `only` of which each fake reaches alone.

    Fresh fakes move it by what each adds: the delete-one jackknife, s^2 = sum (u_j - mean)^2 / n^2. Near 0 and 1 that is
    too little, so it is no narrower than Wilson's for n samples.
    """
    m, low_high = len(only), of_share(hits, n)
    each = float(only.double().std(correction=0)) * m / n
    low, high = of_mean(hits / n, each, m)
    return [max(0.0, min(low, low_high[0])), min(1.0, max(high, low_high[1]))]


def _facts(seen: Features, k: int, n: int, m: int) -> dict[str, Any]:
    said = []
    if min(n, m) < _FEW:
        said.append(f"{min(n, m)} samples are few for balls of neighbours: take {_FEW:,} or more, or kd")
    if max(n, m) > 2 * min(n, m):
        said.append(f"{n} reals and {m} fakes: the balls of the fewer are larger; take equal counts")
    return {"k": k, "network": seen.hash, "real_count": n, "fake_count": m, "warning": "; ".join(said)}
