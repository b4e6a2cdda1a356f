"""The Frechet distance at infinitely many fakes, by a line through its values at fewer."""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.noise import uniform
from gantlet.core.registry import Slot
from gantlet.metrics.about import about
from gantlet.metrics.features import build, matrix_of
from gantlet.metrics.frechet import frechet
from gantlet.metrics.moments import Moments, moments_of
from gantlet.metrics.sources import Source, spec_of

_ROWS = 4096  # at a time


@registry.metric
@about(fd_infinity="lower")
def fd_infinity(
    real: Source | Moments,
    fake: Source,
    *,
    features: Annotated[Any, Slot("feature")] = {"use": "raw"},  # noqa: B006 (read only)
    parts: Annotated[int, Field(ge=2)] = 2,  # smaller ones bend the line and need more samples; each costs a distance
    seed: int = 0,  # of the subsets
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """The Frechet distance at infinitely many fakes: FD(n) = FD(infinity) + slope / n, a line fitted by least squares
    to the distances of random subsets of n fakes (Chong and Forsyth 2020, FID-infinity).

    At each size n / k, k up to `parts`, the mean over the k disjoint parts of all fakes. (The paper draws 15 subsets
    from a tenth of the fakes to all; of as many fakes that has nearly twice the standard error, and bends more.) What
    the reference's own number of samples adds stays in it. Not `valid` where a part, or the reference, has under
    twice as many samples as dimensions. It can be slightly negative.
    """
    seen = build(features, lambda: spec_of(fake if isinstance(real, Moments) else real))
    reference = real if isinstance(real, Moments) else moments_of(real, seen, batch=batch)
    x = matrix_of(fake, seen, batch=batch)
    if len(x) < 2 * parts:
        raise InputError(f"{parts} parts of at least 2 fakes are {2 * parts}, there are {len(x)}; make more")
    order = uniform((len(x),), 1, key=(seed, "fd-infinity"))[0].argsort().to(x.device)
    values = [_mean(reference, x, order, k) for k in range(1, parts + 1)]
    slope, limit = line([k / len(x) for k in range(1, parts + 1)], values)
    return {
        "fd_infinity": limit,
        "slope": slope,
        "sizes": [len(x) // k for k in range(1, parts + 1)],
        "values": values,
        "name": seen.called("FD-infinity"),
        "network": seen.hash,
        "dimension": seen.dimension,
        "real_count": reference.count,
        "fake_count": len(x),
        **_trusted(reference.count, len(x), parts, seen.dimension),
    }


def _mean(reference: Moments, x: Tensor, order: Tensor, k: int) -> float:
    """The mean distance of the k disjoint parts."""
    far = []
    for part in order.tensor_split(k):
        moments = Moments(reference.dimension, of=reference.of)
        for some in torch.split(part, _ROWS):
            moments.add(x[some])
        far.append(frechet(reference, moments))
    return math.fsum(far) / k


def line(x: list[float], y: list[float]) -> tuple[float, float]:
    """(slope, value at 0) of the least squares line."""
    a, b = torch.tensor([x, y], dtype=torch.float64)
    slope = ((a - a.mean()) * (b - b.mean())).sum() / (a - a.mean()).square().sum()
    return float(slope), float(b.mean() - slope * a.mean())


def _trusted(real: int, fake: int, parts: int, dimension: int) -> dict[str, Any]:
    """`valid` and `warning`: enough for the bias to be a line in 1/n, and not all of the distance the reference's?"""
    short = [
        f"{have} {side} for {dimension} dimensions, take at least {need}"
        for side, have, need in (("reals", real, 2 * dimension), ("fakes", fake, 2 * parts * dimension))
        if have < need
    ]
    said = f"{'; '.join(short)}, or kd or mind, which are valid with fewer" if short else ""
    return {"valid": not short, "warning": said}
