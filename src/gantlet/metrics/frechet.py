"""The Frechet distance between two sets, in a named feature space."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.registry import Slot
from gantlet.metrics.about import about
from gantlet.metrics.features import Features, build
from gantlet.metrics.moments import Moments, moments_of, same_features
from gantlet.metrics.sources import Source, spec_of


def frechet(a: Moments, b: Moments) -> float:
    """Squared 2-Wasserstein distance of the Gaussians with these moments: |ma - mb|^2 + tr(A + B - 2 (A B)^1/2).

    Dowson and Landau 1982; Heusel et al. 2017 (FID). tr (A B)^1/2 is the sum of the roots of the eigenvalues of
    A^1/2 B A^1/2, which are the squared singular values of the product of the two factors: nothing is squared that is
    rooted later, so sets with fewer samples than dimensions are exact as well. Float64; at least 0.
    """
    same_features(a, b)
    if not bool(torch.isfinite(a.mean).all() & torch.isfinite(b.mean).all()):
        raise InputError("the features hold NaN or infinite values; look at the samples")
    one, two = a.covariance, b.covariance
    roots = torch.linalg.svdvals(_factor(one).T @ _factor(two)).sum()
    apart = (a.mean - b.mean).square().sum()
    return max(0.0, float(apart + one.trace() + two.trace() - 2 * roots))


def _factor(covariance: Tensor) -> Tensor:
    """L [d, rank] with L L^T = covariance; eigenvalues that are only rounding are left out."""
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > values[-1].clamp(min=0) * len(values) * torch.finfo(values.dtype).eps
    factor: Tensor = vectors[:, kept] * values[kept].sqrt()
    return factor


@registry.metric
@about(fd="lower")
def fd(
    real: Source | Moments,
    fake: Source | Moments,
    *,
    features: Annotated[Any, Slot("feature")] = {"use": "raw"},  # noqa: B006 (read only)
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """Frechet distance |mr - mf|^2 + tr(R + F - 2 (R F)^1/2) in feature space (Heusel et al. 2017), 0 and up.

    Either side may be `Moments` that were computed before. It shrinks as both sets grow: compare at equal counts, and
    against the same distance between two real sets. `warning` says when a count is under twice the dimension.
    """
    seen = build(features, lambda: _spec(real, fake))
    r, f = (_moments(s, seen, batch) for s in (real, fake))
    return {
        "fd": frechet(r, f),
        "name": f"FD-{seen.name}",
        "network": seen.hash,
        "dimension": seen.dimension,
        "real_count": r.count,
        "fake_count": f.count,
        "warning": _too_few(r.count, f.count, seen),
    }


def _spec(real: Source | Moments, fake: Source | Moments) -> Any:
    for side in (real, fake):
        if not isinstance(side, Moments):
            return spec_of(side)
    raise InputError("two Moments do not say what features they are of; pass Features")


def _moments(side: Source | Moments, features: Features, batch: int) -> Moments:
    return side if isinstance(side, Moments) else moments_of(side, features, batch=batch)


def _too_few(real: int, fake: int, features: Features) -> str:
    least, need = min(real, fake), 2 * features.dimension
    if least >= need:
        return ""
    return f"{least} samples for {features.dimension} dimensions: the distance is mostly bias; take at least {need}"
