"""Gradient penalties at points that are neither reals nor fakes: between the two, or around the reals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from gantlet.core.critics import Evidence
from gantlet.core.noise import uniform
from gantlet.core.registry import penalty
from gantlet.core.when import at
from gantlet.losses.penalties import Every, Penalty, Strength, differentiable, lengths, normals, slopes, squared

Target = Annotated[float, Field(ge=0)]  # a length


@penalty
def gp(*, weight: Strength = 10.0, target: Target = 1.0, every: Every = 1) -> Penalty:
    """Gradient penalty: weight E (|grad D(x^)| - 1)^2, x^ uniform between a real and a fake (Gulrajani et al. 2017)."""

    def term(e: Evidence) -> Tensor:
        return at(weight, e.now) * _norms(e, _between(e), lambda n: (n - target).square())

    return Penalty(term, every, of_one_row=True)


@penalty
def gp_one_sided(*, weight: Strength = 10.0, target: Target = 1.0, every: Every = 1) -> Penalty:
    """WGAN-LP: weight E max(0, |grad D(x^)| - 1)^2, x^ uniform between a real and a fake: a slope under 1 is let be
    (Petzka, Fischer and Lukovnikov 2018, section 5).
    """

    def term(e: Evidence) -> Tensor:
        return at(weight, e.now) * _norms(e, _between(e), lambda n: F.relu(n - target).square())

    return Penalty(term, every, of_one_row=True)


@penalty
def gp_zero(*, weight: Strength = 10.0, every: Every = 1) -> Penalty:
    """0-GP: weight E |grad D(x^)|^2, x^ uniform between a real and a fake (Thanh-Tung, Tran and Venkatesh 2019)."""

    def term(e: Evidence) -> Tensor:
        between = _between(e)
        return at(weight, e.now) * squared(e.ask(between, "between"), between)

    return Penalty(term, every)


@penalty
def dragan(
    *,
    weight: Strength = 10.0,
    target: Target = 1.0,
    size: Annotated[float, Field(gt=0)] = 0.5,  # of the perturbation, in standard deviations of the batch
    every: Every = 1,
) -> Penalty:
    """DRAGAN: weight E (|grad D(x + delta)| - 1)^2 around reals, delta normal with half the standard deviation of the
    batch (Kodali et al. 2017).

    The deviation is one number over all entries of the batch.
    """

    def term(e: Evidence) -> Tensor:
        around = e.real + size * e.real.std(correction=0) * normals(e, e.real, "dragan")
        return at(weight, e.now) * _norms(e, differentiable(around), lambda n: (n - target).square(), "around")

    return Penalty(term, every, couples_batch=True)


def _norms(e: Evidence, x: Tensor, cost: Callable[[Tensor], Tensor], side: str = "between") -> Tensor:
    """Sum over critics of E cost(|d D(x) / d x|)."""
    return torch.stack([cost(lengths(slopes(v, x))).mean() for v in e.ask(x, side)]).sum()


def _between(e: Evidence) -> Tensor:
    """eps x + (1 - eps) G(z), one eps in 0..1 a row, keyed by the row's place in the joint batch."""
    n, *rest = e.real.shape
    key = (e.now.seed, e.now.step, e.now.play, "gp")  # the same points for each penalty of this kind
    eps = uniform((1,) * len(rest), n, key=key, first=e.now.first, device=e.real.device).to(e.real.dtype)
    return differentiable(eps * e.real + (1 - eps) * e.fake)
