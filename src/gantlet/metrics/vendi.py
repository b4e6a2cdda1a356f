"""How many different samples a set amounts to, by itself."""

from __future__ import annotations

import math
from functools import reduce
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.registry import Slot
from gantlet.metrics.about import about
from gantlet.metrics.features import Features, build, features_of, matrix_of
from gantlet.metrics.neighbours import kept
from gantlet.metrics.sources import Joined, Source, count_of, spec_of, sum_up

_MOST = 8192  # dimensions or samples: a matrix of 512 MiB


class Gram(NamedTuple):
    """Sums over unit rows u: of u u^T, of the rows, and of those that are all zeros."""

    product: Tensor  # float64 [d, d]
    rows: int
    blank: int

    def join(self, other: Gram) -> Gram:
        return Gram(self.product + other.product, self.rows + other.rows, self.blank + other.blank)


@registry.metric
@about(vendi="higher")
def vendi(
    real: Source,
    fake: Source,
    *,
    features: Annotated[Any, Slot("feature")] = {"use": "raw"},  # noqa: B006 (read only)
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """Vendi score of the fakes: exp(-sum l ln l) of the eigenvalues l of K / n, K_ij = cos(f_i, f_j) (Friedman and Dieng
    2023), 1 to n.

    n equal rows count as 1, k orthogonal clusters of equal size as k. It does not look at the reals, whose own score is
    `real_vendi`, and it rewards noise; it grows with n, so compare at equal counts. Rows of zeros, which have no
    direction, are alike and unlike all others.
    """
    seen, real, fake = build(features, lambda: spec_of(real)), kept(real), kept(fake)
    (score, m), (reference, n) = (_vendi(side, seen, batch) for side in (fake, real))
    return {
        "vendi": score,
        "real_vendi": reference,
        "name": seen.called("Vendi"),
        "network": seen.hash,
        "real_count": n,
        "fake_count": m,
        "warning": "" if n == m else f"{m} fakes and {n} reals: real_vendi is of another count and does not compare",
    }


def _vendi(source: Source, seen: Features, batch: int) -> tuple[float, int]:
    """(score, count), by the smaller of the n x n and the d x d matrix: their eigenvalues are the same."""

    def make(source: Source) -> tuple[float, int]:
        n = _size(source)
        if n is not None and n <= seen.dimension:
            rows, blank = _directions(matrix_of(source, seen, batch=batch))
            return effective(torch.linalg.eigvalsh(rows @ rows.T / n), blank / n), n
        gram = sum_up(source, ("directions", seen.key), total, lambda parts: reduce(Gram.join, parts))
        values = torch.linalg.eigvalsh(gram.product / gram.rows)
        return effective(values, gram.blank / gram.rows), gram.rows

    def total(source: Source) -> Gram:
        if seen.dimension > _MOST:
            raise InputError(
                f"{seen.dimension} dimensions of more samples are too many (at most {_MOST}); use a network"
            )
        product, count, blank = torch.zeros(seen.dimension, seen.dimension, dtype=torch.float64), 0, 0
        for piece in features_of(source, seen, batch=batch):
            rows, empty = _directions(piece)
            product += (rows.T @ rows).cpu()
            count, blank = count + len(rows), blank + empty
        return Gram(product, count, blank)

    return sum_up(source, ("vendi", seen.key), make)


def effective(values: Tensor, blank: float = 0.0) -> float:
    """exp of the entropy of eigenvalues that, with the share of rows without direction, add up to 1."""
    shares = torch.cat([values.cpu(), torch.tensor([blank], dtype=torch.float64)]).clamp(min=0)
    shares /= shares.sum()
    return math.exp(-float(torch.xlogy(shares, shares).sum()))


def _directions(x: Tensor) -> tuple[Tensor, int]:
    """Rows at unit length, float64, and how many are all zeros (and stay so). InputError for NaN or infinite values."""
    x = (x.cpu() if x.device.type == "mps" else x).double()  # mps knows no float64
    length = x.norm(dim=1, keepdim=True)
    if not bool(length.isfinite().all()):
        raise InputError("the features hold NaN or infinite values; look at the samples")
    return x / length.where(length > 0, 1.0), int((length == 0).sum())


def _size(source: Source) -> int | None:
    """How many samples there are; None where only reading tells."""
    if isinstance(source, Joined):
        parts = [_size(part) for part in source.parts]
        return None if None in parts else sum(n for n in parts if n is not None)
    return count_of(source)
