"""Points on a curve in the plane: how much of it is covered, how evenly, and how far off they are."""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.noise import normal
from gantlet.metrics.about import about
from gantlet.metrics.classes import divergence
from gantlet.metrics.sources import Source, batches_of

_DIRECTIONS = 64


@registry.metric
@about(bins="higher", kl="lower", distance="lower", sliced_w2="lower")
def curve(
    real: Source,
    fake: Source,
    *,
    vertices: list[tuple[float, float]] | None = None,  # of the curve, in order; None: the middle of toy:swissroll
    bins: Annotated[int, Field(ge=2)] = 50,  # of equal arc length
    batch: Annotated[int, Field(ge=1)] = 4096,
) -> dict[str, Any]:
    """Bins of a curve's arc length that are hit, KL(fake bins || real bins), distance from the curve, and sliced W2
    (Rabin et al. 2011) to the real points.

    A point belongs to the bin of its nearest point on the curve; it hits that bin when it is no farther off than 99% of
    the real points. `solid_bins` hold at least 0.2 of their real share. A bin only the fakes have counts as half a real
    point; `kl_floor` is (bins - 1) / 2N; `distance` is the mean, `off` the share of points that hit nothing.
    """
    return Curve(real, vertices=vertices, bins=bins, batch=batch).against(fake)


class Curve:
    """The real points of `curve`, which is the same for every set of fakes they are compared with."""

    def __init__(
        self, real: Source, *, vertices: list[tuple[float, float]] | None = None, bins: int = 50, batch: int = 4096
    ) -> None:
        self.line = torch.as_tensor(vertices, dtype=torch.float64) if vertices is not None else swissroll()
        if self.line.ndim != 2 or self.line.shape[1] != 2 or len(self.line) < 2:
            raise InputError(f"vertices are at least two points [K, 2] of the curve, these are {list(self.line.shape)}")
        self.bins, self.batch = bins, batch
        self.points = _points(real, batch)
        far, place = _placed(self.points, self.line, bins, batch)
        self.share = torch.bincount(place, minlength=bins).double() / len(far)
        self.mean = float(far.mean())
        self.limit = float(far.quantile(0.99) if len(far) < 2**24 else far.max())

    def against(self, fake: Source) -> dict[str, Any]:
        """What `curve` answers."""
        f = _points(fake, self.batch)
        far, place = _placed(f, self.line, self.bins, self.batch)
        hit, q = far <= self.limit, self.share
        counts = torch.bincount(place[hit], minlength=self.bins).double()
        p = torch.bincount(place, minlength=self.bins).double() / len(f)
        return {
            "bins": int((counts > 0).sum()),
            "solid_bins": int((counts / len(f) >= (0.2 * q).clamp(min=1e-12)).sum()),
            "of": self.bins,
            "kl": divergence(p, torch.where((p > 0) & (q == 0), 0.5 / len(self.points), q)),
            "kl_floor": (self.bins - 1) / (2 * len(f)),
            "distance": float(far.mean()),
            "real_distance": self.mean,
            "off": float((~hit).double().mean()),
            "sliced_w2": sliced_w2(self.points, f),
            "fake_count": len(f),
            "warning": "",
        }


def swissroll(*, scale: float = 7.5, pieces: int = 500) -> Tensor:
    """The middle of toy:swissroll, float64 [pieces + 1, 2]: (t cos t, t sin t) / scale, t from 1.5 pi to 4.5 pi."""
    t = torch.linspace(1.5 * math.pi, 4.5 * math.pi, pieces + 1, dtype=torch.float64)
    return torch.stack([t * t.cos(), t * t.sin()], 1) / scale


def sliced_w2(real: Tensor, fake: Tensor, *, directions: int = _DIRECTIONS) -> float:
    """The root of the mean over directions of W2^2 of the projections; sets [N, d] of unequal size by their quantiles."""
    ways = normal((real.shape[1],), directions, key=("sliced w2",)).double()
    ways = (ways / ways.norm(dim=1, keepdim=True)).T
    a, b = ((x.double().cpu() @ ways).sort(0).values for x in (real, fake))
    if len(a) != len(b):
        n = min(len(a), len(b))
        a, b = (_quantiles(x, n) for x in (a, b))
    return math.sqrt(float((a - b).square().mean()))


def _quantiles(ordered: Tensor, n: int) -> Tensor:
    """Of each column, at (i + 1/2) / n, between neighbours."""
    place = ((torch.arange(n, dtype=torch.float64) + 0.5) / n * len(ordered) - 0.5).clamp(0, len(ordered) - 1)
    low = place.floor().long()
    high = (low + 1).clamp(max=len(ordered) - 1)
    return ordered[low].lerp(ordered[high], (place - low).unsqueeze(1))


def _points(source: Source, batch: int) -> Tensor:
    points = torch.cat([rows.x.double().cpu() for rows in batches_of(source, batch=batch)])
    if points.shape[1:] != (2,):
        raise InputError(f"a curve is of points in the plane [N, 2], the samples are {list(points.shape)}")
    return points


def _placed(points: Tensor, line: Tensor, bins: int, batch: int) -> tuple[Tensor, Tensor]:
    """(distance from the curve [N], bin of the nearest point on it [N])."""
    starts, ways = line[:-1], line[1:] - line[:-1]
    lengths = ways.norm(dim=1)
    before = lengths.cumsum(0) - lengths
    far, place = [], []
    for some in torch.split(points, min(batch, 1024)):
        onto = some @ ways.T - (starts * ways).sum(1)
        along = (onto / lengths.square()).clamp(0, 1)
        # |x - s - a w|^2, of which only the nearest is wanted
        square = torch.cdist(some, starts, compute_mode="donot_use_mm_for_euclid_dist").square()
        square += along * (along * lengths.square() - 2 * onto)
        near = square.argmin(1)
        share = along.gather(1, near.unsqueeze(1)).squeeze(1)
        far.append((some - starts[near] - share.unsqueeze(1) * ways[near]).norm(dim=1))
        place.append(before[near] + share * lengths[near])
    return torch.cat(far), (torch.cat(place) / lengths.sum() * bins).long().clamp(max=bins - 1)
