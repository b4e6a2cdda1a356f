"""Kernel distances between two sets, in a named feature space: unbiased at any number of samples, or nearly so."""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.noise import uniform
from gantlet.core.registry import Slot
from gantlet.metrics.about import about
from gantlet.metrics.features import build
from gantlet.metrics.kernel_sums import Kernel, Part, mmd, rows_of, sides_of, size_of
from gantlet.metrics.sources import Source, spec_of


def cubic(x: Tensor, y: Tensor) -> Tensor:
    """(x . y / d + 1)^3."""
    k = x @ y.T / x.shape[1] + 1
    return k * k * k


class Gaussian:
    """exp(-|x - y|^2 / 2 sigma^2) - 1 of rows at unit length; that all values are less by 1 changes no MMD."""

    def __init__(self, sigma: float) -> None:
        self.sigma = sigma

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        x, y = (t / t.norm(dim=1, keepdim=True).clamp(min=1e-12) for t in (x, y))
        return torch.expm1((x @ y.T - 1) / self.sigma**2)


def kernel_distance(x: Tensor, y: Tensor, *, kernel: Kernel = cubic, unbiased: bool = True) -> float:
    """MMD^2 of rows [n, d] and [m, d]: mean k(x, x') + mean k(y, y') - 2 mean k(x, y) (Gretton et al. 2012).

    The first two means leave pairs of one row with itself out (eq. 3, unbiased, can be negative) or in (eq. 5).
    """
    parts = [Part(None, len(x), lambda: x)], [Part(None, len(y), lambda: y)]
    return mmd(*parts, kernel, unbiased)


@registry.metric
@about(kd="lower")
def kd(
    real: Source,
    fake: Source,
    *,
    features: Annotated[Any, Slot("feature")] = {"use": "raw"},  # noqa: B006 (read only)
    subsets: Annotated[int, Field(ge=0)] = 0,  # 0: every pair, the least variance; 100 is what papers report
    subset_size: Annotated[int, Field(ge=2)] = 1000,  # as published
    seed: int = 0,  # of the subsets
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """Kernel distance: unbiased MMD^2 with the kernel (x . y / d + 1)^3 (Binkowski et al. 2018, KID), around 0 and up.

    Over every pair of samples, or with `subsets` the mean over that many random subsets of both sets, with `kd_std`
    over them (they overlap: that is no error bar). Its expectation is the same at any number of samples. Every pair of
    50,000 and 50,000 samples of 2048 features takes minutes on two cores; subsets=100 takes seconds.
    """
    seen = build(features, lambda: spec_of(real))
    r, f = sides_of(real, fake, seen, batch)
    n, m = size_of(r), size_of(f)
    found: dict[str, Any] = {"subsets": subsets, "subset_size": min(n, m, subset_size) if subsets else 0}
    if subsets:
        values = _over_subsets(rows_of(r), rows_of(f), subsets, found["subset_size"], seed)
        found["kd"] = math.fsum(values) / subsets
        found["kd_std"] = math.sqrt(math.fsum((v - found["kd"]) ** 2 for v in values) / subsets)
    else:
        found["kd"] = mmd(r, f, cubic, True, of=("kd", seen.key))
    cut = f"subsets of {found['subset_size']}, not {subset_size}: there are no more samples"
    return {
        **found,
        "name": seen.called("KD"),
        "network": seen.hash,
        "real_count": n,
        "fake_count": m,
        "warning": cut if subsets and found["subset_size"] < subset_size else "",
    }


@registry.metric
@about(cmmd="lower")
def cmmd(
    real: Source,
    fake: Source,
    *,
    features: Annotated[Any, Slot("feature")] = {"use": "raw"},  # noqa: B006 (read only)
    sigma: Annotated[float, Field(gt=0)] = 10.0,  # as published, for embeddings at unit length
    batch: Annotated[int, Field(ge=1)] = 256,
) -> dict[str, Any]:
    """1000 MMD^2 with the Gaussian kernel of width sigma on features at unit length (Jayasumana et al. 2024, CMMD).

    By the estimator of the authors' figures, which counts pairs of one sample with itself (Gretton et al. 2012, eq. 5):
    0 and up, too high by about 1000 (1 - mean k) (1/n + 1/m). It is CMMD where the features are CLIP's.
    """
    seen = build(features, lambda: spec_of(real))
    r, f = sides_of(real, fake, seen, batch)
    return {
        "cmmd": max(0.0, 1000 * mmd(r, f, Gaussian(sigma), False, of=("cmmd", sigma, seen.key))),
        "name": seen.called("CMMD"),
        "network": seen.hash,
        "real_count": size_of(r),
        "fake_count": size_of(f),
        "warning": "",
    }


def _over_subsets(x: Tensor, y: Tensor, subsets: int, size: int, seed: int) -> list[float]:
    """The distance of `size` rows of either side, drawn without replacement, so many times."""

    def some(rows: Tensor, side: str, i: int) -> Tensor:
        draws = uniform((len(rows),), 1, key=(seed, "kd", side), first=i)[0]
        return rows[draws.topk(size).indices.to(rows.device)]

    return [kernel_distance(some(x, "real", i), some(y, "fake", i)) for i in range(subsets)]
