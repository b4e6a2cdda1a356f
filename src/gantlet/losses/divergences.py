"""Losses that are a divergence at the optimal critic.

f-GAN: D_f(p || q) = sup_T E_p T(x) - E_q f*(T(x)), the critic's logit v giving T = g(v) inside the domain of f*; the
supremum is at T = f'(p/q) (Nowozin, Cseke and Tomioka 2016, eq. 4-6). D minimises -E g(real) + E f*(g(fake)).

In each, `saturating` makes G minimise that value itself, -E f*(g(fake)), the zero-sum game; otherwise it maximises
E g(fake), which has a gradient where D wins (section 3.2). Exponentials go on as their tangent where the exponent passes
`linear_after`: float32 holds none past 88. That changes nothing while |log p/q| stays below it.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from gantlet.core.critics import Adversarial, Cost, labelled
from gantlet.core.registry import adversarial

Exponent = Annotated[float, Field(gt=0, le=60)]  # e^60 squared still fits into float32's gradient norms


def _f_gan(minus_g: Cost, conjugate: Cost, saturating: bool) -> Adversarial:
    """The pair of -g(v) and f*(g(v)), both as functions of the logit v."""

    def g(fake: Tensor, real: Tensor | None) -> Tensor:
        return -conjugate(fake).mean() if saturating else minus_g(fake).mean()

    return labelled(minus_g, conjugate, g)


def _exp(x: Tensor, linear_after: float) -> Tensor:
    """exp(x), and its tangent at `linear_after` beyond it."""
    held = x.clamp(max=linear_after)
    return held.exp() * (1 + x - held)


@adversarial
def kl(*, saturating: bool = False, linear_after: Exponent = 30.0) -> Adversarial:
    """KL(p || q) by f-GAN: g(v) = v, f*(t) = exp(t - 1) (Nowozin, Cseke and Tomioka 2016, tables 1 and 2)."""
    return _f_gan(torch.neg, lambda v: _exp(v - 1, linear_after), saturating)


@adversarial
def reverse_kl(*, saturating: bool = False, linear_after: Exponent = 30.0) -> Adversarial:
    """KL(q || p) by f-GAN: g(v) = -exp(-v), f*(t) = -1 - log(-t) (Nowozin, Cseke and Tomioka 2016, tables 1 and 2)."""
    return _f_gan(lambda v: _exp(-v, linear_after), lambda v: v - 1, saturating)


@adversarial
def pearson(*, saturating: bool = False) -> Adversarial:
    """Pearson's chi-square, E_q (p/q - 1)^2, by f-GAN: g(v) = v, f*(t) = t^2 / 4 + t (Nowozin, Cseke and Tomioka 2016,
    tables 1 and 2).

    A logit under -2 says that p/q is negative, and is pulled back.
    """
    return _f_gan(torch.neg, lambda v: 0.25 * v.square() + v, saturating)


@adversarial
def hellinger(*, saturating: bool = False, linear_after: Exponent = 30.0) -> Adversarial:
    """Squared Hellinger, the integral of (sqrt p - sqrt q)^2, by f-GAN: g(v) = 1 - exp(-v), f*(t) = t / (1 - t)
    (Nowozin, Cseke and Tomioka 2016, tables 1 and 2).
    """
    return _f_gan(lambda v: _exp(-v, linear_after) - 1, lambda v: _exp(v, linear_after) - 1, saturating)


@adversarial
def jensen_shannon(*, saturating: bool = False) -> Adversarial:
    """KL(p || m) + KL(q || m), m = (p + q) / 2, by f-GAN: g(v) = log 2 - softplus(-v), f*(t) = -log(2 - exp t) (Nowozin,
    Cseke and Tomioka 2016, tables 1 and 2).

    As in the paper it is twice what others call Jensen-Shannon. D's loss is that of minimax less log 4.
    """
    return _f_gan(lambda v: F.softplus(-v) - math.log(2), lambda v: F.softplus(v) - math.log(2), saturating)


@adversarial
def logistic() -> Adversarial:
    """D by logistic regression, whose optimal logit is log p/q; G minimises -E D(G(z)), there KL(q || p) (Sonderby et
    al. 2017; Huszar 2016).
    """
    return labelled(lambda real: F.softplus(-real), F.softplus, lambda fake, real: -fake.mean())
