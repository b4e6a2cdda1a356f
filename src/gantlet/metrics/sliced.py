"""Sliced Wasserstein distances: what it costs to move one set onto the other, seen along many random directions."""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.noise import normal
from gantlet.core.registry import Slot
from gantlet.metrics.about import about
from gantlet.metrics.features import Features, build, matrix_of
from gantlet.metrics.sources import Joined, Kept, Source, count_of, spec_of, sum_up

_BLOCK = 2**28  # bytes of projections at a time, and that a kept set holds on to
_ROWS = 4096


def directions(dimension: int, count: int, *, seed: int) -> Tensor:
    """Float64 [count, dimension], at random on the unit sphere."""
    ways = normal((dimension,), count, key=(seed, "directions")).double()
    unit: Tensor = ways / ways.norm(dim=1, keepdim=True)
    return unit


def project(x: Tensor, ways: Tensor) -> Tensor:
    """Rows [n, d] seen along every direction [k, d], in order: float32 [k, n], products in float64."""
    x = x.cpu() if x.device.type == "mps" else x  # which knows no float64
    out = torch.empty(len(ways), len(x), device=x.device)
    ways = ways.to(x.device)
    for first in range(0, len(x), _ROWS):
        out[:, first : first + _ROWS] = ways @ x[first : first + _ROWS].double().T
    return ordered(out)


def ordered(lines: Tensor) -> Tensor:
    """Each row [k, n] sorted, in place."""
    if lines.device.type == "cpu":
        lines.numpy().sort(axis=1)  # vectorised, and without the places
        return lines
    return lines.sort(1).values


def transport(a: Tensor, b: Tensor, *, power: int = 2) -> Tensor:
    """W_p^p of sorted lines [k, n] and [k, m], float64 [k]: the mean of |quantile of a - quantile of b|^p, exactly."""
    n, m = a.shape[1], b.shape[1]
    if n == m:
        return torch.stack([(x.double() - y.double()).abs().pow(power).mean() for x, y in zip(a, b)])
    ends = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).sort().values  # where either steps
    weight = ends.diff(prepend=ends.new_zeros(1)).double().to(a.device) / (n * m)
    left, right = ((ends - 1) // m).to(a.device), ((ends - 1) // n).to(b.device)
    return torch.stack([(x[left].double() - y[right].double()).abs().pow(power) @ weight for x, y in zip(a, b)])


@registry.metric
@about(sliced_w2="lower")
def sliced_w2(
    real: Source,
    fake: Source,
    *,
    features: Annotated[Any, Slot("feature")] = {"use": "raw"},  # noqa: B006 (read only)
    ways: Annotated[int, Field(ge=1)] = 512,  # directions; the error from their number falls with its root
    seed: int = 0,  # of the directions
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """Sliced Wasserstein distance: the root of the mean of W2^2 along random directions (Rabin et al. 2011), 0 and up.

    In units of the features. Exact along each direction, for sets of different sizes too. It shrinks as the sets grow,
    like 1 / sqrt(n) where they are alike: compare at equal counts.
    """
    seen = build(features, lambda: spec_of(real))
    real, fake = held(real), held(fake)
    along = directions(seen.dimension, ways, seed=seed)
    return {
        "sliced_w2": math.sqrt(float(squares(real, fake, seen, along, (seed, ways), batch).mean())),
        "name": seen.called("sliced W2"),
        "network": seen.hash,
        "ways": ways,
        "real_count": size_of(real, seen, batch),
        "fake_count": size_of(fake, seen, batch),
        "warning": "",
    }


def held(source: Source) -> Kept | Joined:
    """A source whose features can be had again."""
    return source if isinstance(source, Kept | Joined) else Kept(source)


def squares(real: Kept | Joined, fake: Kept | Joined, features: Features, ways: Tensor, key: Any, batch: int) -> Tensor:
    """W2^2 of the features along every direction, float64 [k]; `key` names the directions."""
    most = max(size_of(real, features, batch), size_of(fake, features, batch))
    step = max(1, min(len(ways), _BLOCK // (4 * most)))
    found = []
    for first in range(0, len(ways), step):
        some = ways[first : first + step]
        kept = key if step == len(ways) else None
        found.append(transport(*(_lines(s, features, some, kept, batch) for s in (real, fake))).cpu())
    return torch.cat(found)


def size_of(source: Kept | Joined, features: Features, batch: int) -> int:
    """How many samples it has."""
    if isinstance(source, Joined):
        return sum(size_of(part, features, batch) for part in source.parts)
    count = count_of(source)
    return len(matrix_of(source, features, batch=batch)) if count is None else count


def _lines(source: Kept | Joined, features: Features, ways: Tensor, key: Any, batch: int) -> Tensor:
    """Sorted projections; with a key a kept source holds on to them and a joined one merges its parts'."""

    def make(source: Source) -> Tensor:
        return project(matrix_of(source, features, batch=batch), ways)

    if key is None:
        return make(source)
    return sum_up(source, ("lines", features.key, key), make, lambda parts: ordered(torch.cat(parts, 1)))
