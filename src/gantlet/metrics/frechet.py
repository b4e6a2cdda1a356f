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

_SURE = 1e-6  # of the traces: a bound on all rounding at its worst; what was measured is under a thousandth of it


def frechet(a: Moments, b: Moments) -> float:
    """Squared 2-Wasserstein distance of the Gaussians with these moments: |ma - mb|^2 + tr(A + B - 2 (A B)^1/2).

    Dowson and Landau 1982; Heusel et al. 2017 (FID). Float64; at least 0; exact for fewer samples than dimensions too.
    """
    same_features(a, b)
    if not bool(torch.isfinite(a.mean).all() & torch.isfinite(b.mean).all()):
        raise InputError("the features hold NaN or infinite values; look at the samples")
    one, two = a.covariance, b.covariance
    apart = (a.mean - b.mean).square().sum()
    return max(0.0, float(apart + one.trace() + two.trace() - 2 * root_trace(one, two)))


def root_trace(one: Tensor, two: Tensor) -> Tensor:
    """tr (A B)^1/2 of two covariances, 0-d: with A = L L^T and B = M M^T the sum of the singular values of L^T M.

    Those are the roots of the eigenvalues of L^T B L, which are three times cheaper and taken where they are large
    enough for their roots to be sure. A dimension without spread on either side adds nothing and is left out.
    """
    used = (one.diagonal() > 0) & (two.diagonal() > 0)
    if not bool(used.all()):
        one, two = one[used][:, used], two[used][:, used]
    first = _factor(one)
    if first.shape[0] == first.shape[1]:
        values = torch.linalg.eigvalsh(first.T @ two @ first)
        off = torch.finfo(values.dtype).eps * one.norm() * two.norm()  # of an eigenvalue; of its root: off / 2 root
        sure = len(values) == 0 or bool(values[0] > 4 * off)
        if sure and bool((off / 2 / values.sqrt()).sum() <= _SURE * (one.trace() + two.trace())):
            quick: Tensor = values.sqrt().sum()
            return quick
    roots: Tensor = torch.linalg.svdvals(first.T @ _factor(two)).sum()
    return roots


def _factor(covariance: Tensor) -> Tensor:
    """L [d, rank] with L L^T = covariance: Cholesky's, or where it has no full rank by its eigenvectors."""
    if len(covariance) == 0:
        return covariance
    lower: Tensor
    lower, failed = torch.linalg.cholesky_ex(covariance)
    none = len(covariance) * torch.finfo(covariance.dtype).eps  # a share of the spread that is only rounding
    if int(failed) == 0 and bool((lower.diagonal().square() > none * covariance.diagonal().amax()).all()):
        return lower
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > values[-1].clamp(min=0) * none
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
    against the same distance between two real sets. Under twice as many samples as dimensions it is not `valid`: the
    distance is mostly bias, and `warning` says what to take instead.
    """
    seen = build(features, lambda: _spec(real, fake))
    r, f = (_moments(s, seen, batch) for s in (real, fake))
    return {
        "fd": frechet(r, f),
        "name": seen.called("FD"),
        "network": seen.hash,
        "dimension": seen.dimension,
        "real_count": r.count,
        "fake_count": f.count,
        **trusted(min(r.count, f.count), seen.dimension),
    }


def _spec(real: Source | Moments, fake: Source | Moments) -> Any:
    for side in (real, fake):
        if not isinstance(side, Moments):
            return spec_of(side)
    raise InputError("two Moments do not say what features they are of; pass Features")


def _moments(side: Source | Moments, features: Features, batch: int) -> Moments:
    return side if isinstance(side, Moments) else moments_of(side, features, batch=batch)


def trusted(least: int, dimension: int) -> dict[str, Any]:
    """`valid` and `warning` of a Frechet distance between sets of at least so many samples."""
    need = 2 * dimension
    if least >= need:
        return {"valid": True, "warning": ""}
    said = (
        f"{least} samples for {dimension} dimensions: the distance is mostly bias; take at least {need}, or kd or mind"
    )
    return {"valid": False, "warning": f"{said}, which are valid with fewer"}
