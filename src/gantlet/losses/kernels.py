"""Maximum mean discrepancy: the critic embeds, a kernel compares the embeddings of two batches."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core.critics import Adversarial
from gantlet.core.errors import InputError
from gantlet.core.registry import adversarial
from gantlet.losses.relative import compared_with

Scales = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1, max_length=64)]


def gaussian(squared: Tensor, sigma: float) -> Tensor:
    """exp(-r^2 / (2 sigma^2))"""
    return torch.exp(squared / (-2 * sigma**2))


def rational_quadratic(squared: Tensor, alpha: float) -> Tensor:
    """(1 + r^2 / (2 alpha))^-alpha"""
    return torch.exp(-alpha * torch.log1p(squared / (2 * alpha)))


KERNELS = {"gaussian": gaussian, "rational-quadratic": rational_quadratic}


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """|a_i - b_j|^2 of [N, d] and [M, d], [N, M]; by differences, which keeps near points apart in float32."""
    return (a.unsqueeze(1) - b.unsqueeze(0)).square().sum(2)


@adversarial
def mmd(
    *,
    kernel: Literal["gaussian", "rational-quadratic"] = "rational-quadratic",  # its tails keep a gradient
    scales: Scales
    | None = None,  # null: sigma 1, 2, 4, 8, 16 (Li et al.) or alpha 0.2, 0.5, 1, 2, 5 (Binkowski et al.)
    unbiased: bool = True,  # leave out k(x, x); may be negative
) -> Adversarial:
    """MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y) of the critic's embeddings, which D raises and G lowers (Gretton et
    al. 2012, eq. 3; Li et al. 2017; Binkowski et al. 2018).

    A row's logits, [N] or [N, ...], are its embedding; the kernel is a sum over scales.
    """
    of = KERNELS[kernel]
    used = scales or {"gaussian": (1.0, 2.0, 4.0, 8.0, 16.0), "rational-quadratic": (0.2, 0.5, 1.0, 2.0, 5.0)}[kernel]

    def k(a: Tensor, b: Tensor) -> Tensor:
        squared = squared_distances(a, b)
        return torch.stack([of(squared, scale) for scale in used]).sum(0)

    def within(a: Tensor) -> Tensor:
        """E k(a, a') over pairs."""
        n = len(a)
        if not unbiased:
            return k(a, a).mean()
        if n < 2:
            raise InputError("mmd compares pairs of rows, the batch has one; use a larger batch or unbiased=false")
        return (k(a, a).sum() - n * len(used)) / (n * (n - 1))  # every kernel is 1 at a distance of 0

    def discrepancy(real: Tensor, fake: Tensor) -> Tensor:
        real = compared_with(real, fake)
        x, y = real.reshape(len(real), -1), fake.reshape(len(fake), -1)
        return within(x) + within(y) - 2 * k(x, y).mean()

    return Adversarial(
        d=lambda real, fake: -discrepancy(real, fake),
        g=lambda fake, real: discrepancy(compared_with(real, fake), fake),
        paired=True,
        couples_batch=True,
        ordered=False,
    )
