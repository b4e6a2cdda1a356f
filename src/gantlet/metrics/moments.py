"""Mean and covariance of a stream, in float64 and in memory that does not grow with it."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.data.containers import digest
from gantlet.metrics.features import Features, features_of
from gantlet.metrics.sources import Source, sum_up

_ROWS, _STRIP = 4096, 256  # rows that are taken in at once, columns that are multiplied at once
_MOST = 8192  # dimensions: a covariance of 512 MiB


class Moments:
    """Count, mean and scatter of rows, merged pairwise: M = Ma + Mb + d d^T na nb / (na + nb), d = mean_b - mean_a.

    Chan, Golub and LeVeque 1979, "Updating formulae"; any order and any split of the rows gives the same to rounding.
    `of` names the features; moments of different ones do not mix.
    """

    def __init__(self, dimension: int, *, of: str = "") -> None:
        if dimension > _MOST:
            raise InputError(f"a covariance of {dimension} dimensions is too large (at most {_MOST}); use a network")
        self.dimension, self.of, self.count = dimension, of, 0
        self.mean = torch.zeros(dimension, dtype=torch.float64)
        self.scatter = torch.zeros(dimension, dimension, dtype=torch.float64)  # sum of (x - mean)(x - mean)^T

    @property
    def covariance(self) -> Tensor:
        """float64 [dimension, dimension], over n - 1; InputError for fewer than two rows."""
        if self.count < 2:
            raise InputError(
                f"a covariance needs at least 2 samples, there {'is' if self.count == 1 else 'are'} {self.count}"
            )
        return self.scatter / (self.count - 1)

    @torch.no_grad()
    def add(self, x: Tensor) -> Moments:
        """Take in rows [n, dimension]."""
        if x.ndim != 2 or x.shape[1] != self.dimension:
            raise InputError(f"rows [n, {self.dimension}] are wanted, not {list(x.shape)}")
        if len(x) == 0:
            return self
        x = (x.cpu() if x.device.type == "mps" else x).to(torch.float64)  # mps knows no float64
        mean = x.mean(0)
        x = x - mean
        return self._join(len(x), mean, gram(x))

    def merge(self, other: Moments) -> Moments:
        """Take in everything another has seen; InputError when it is of other features."""
        same_features(self, other)
        return self._join(other.count, other.mean, other.scatter)

    def _join(self, count: int, mean: Tensor, scatter: Tensor) -> Moments:
        if count == 0:
            return self
        mean, scatter = mean.cpu(), scatter.cpu()
        total = self.count + count
        step = mean - self.mean
        self.mean = self.mean + step * (count / total)
        self.scatter += scatter
        self.scatter += torch.outer(step, step * (self.count * count / total))
        self.count = total
        return self


def gram(x: Tensor) -> Tensor:
    """x^T x [d, d], of which only one half is multiplied out."""
    d = x.shape[1]
    out = x.new_empty(d, d)
    for i in range(0, d, _STRIP):
        strip = x[:, i : i + _STRIP].T @ x[:, i:]
        out[i : i + _STRIP, i:] = strip
        out[i:, i : i + _STRIP] = strip.T
    return out


def space_of(features: Features) -> str:
    """The name of a feature space: that of its network, and of everything that makes its numbers comparable."""
    return f"{features.name} {digest(features.key)[:16]}"


def same_features(a: Moments, b: Moments) -> None:
    """InputError that names both when two moments are of different features."""
    if (a.of, a.dimension) != (b.of, b.dimension):
        raise InputError(f"moments of {a.of or '?'} [{a.dimension}] and {b.of or '?'} [{b.dimension}] do not mix")


def moments_of(source: Source, features: Features, *, batch: int = 256) -> Moments:
    """Moments of a source's features, read in one pass."""
    of = space_of(features)

    def make(source: Source) -> Moments:
        moments = Moments(features.dimension, of=of)
        rows: list[Tensor] = []
        for x in features_of(source, features, batch=batch):
            rows.append(x)
            if sum(map(len, rows)) >= _ROWS:
                moments.add(torch.cat(rows))
                rows.clear()
        return moments.add(torch.cat(rows)) if rows else moments

    def merge(parts: list[Moments]) -> Moments:
        return reduce(Moments.merge, parts, Moments(features.dimension, of=of))

    return sum_up(source, ("moments", features.key), make, merge)
