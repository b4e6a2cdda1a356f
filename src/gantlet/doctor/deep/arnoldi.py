"""Eigenvalues of a linear map that is known by its products alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

TINY = 1e-6  # float32's share: what is left of a product beside the space it came from, when that space is closed


class Ritz(NamedTuple):
    """An eigenvalue as a Krylov space shows it; `residual`: |A x - value x| for its unit vector x."""

    value: complex
    residual: float


def arnoldi(product: Callable[[Tensor], Tensor], start: Tensor, *, most: int) -> list[Ritz]:
    """Eigenvalues of the map `product` [n] -> [n] in the span of start, A start, ..., the largest modulus first.

    At most `most` products; those on the rim of the spectrum are found first (Arnoldi 1951; Saad 2011, chapter 6). The space
    closes early where the map has few different eigenvalues: then they are exact. An empty list where start is 0.
    """
    size = min(most, start.numel())
    length = float(start.norm())
    if not size or not length:
        return []
    basis = [start / length]
    projected = torch.zeros(size + 1, size, dtype=torch.float64)
    for k in range(size):
        new = product(basis[k])
        scale = float(new.norm())
        known = torch.stack(basis)
        for _ in range(2):  # once more: what rounding has left of the others
            along = known @ new
            projected[: k + 1, k] += along.double().cpu()
            new = new - along @ known
        rest = float(new.norm())
        if rest <= TINY * scale:
            return _ritz(projected[: k + 1, : k + 1], 0.0)
        projected[k + 1, k] = rest
        basis.append(new / rest)
    return _ritz(projected[:size, :size], float(projected[size, size - 1]))


def _ritz(projected: Tensor, rest: float) -> list[Ritz]:
    values, vectors = torch.linalg.eig(projected)
    residuals = rest * vectors[-1].abs()
    found = [Ritz(complex(v), float(r)) for v, r in zip(values.tolist(), residuals.tolist())]
    return sorted(found, key=lambda ritz: -abs(ritz.value))
