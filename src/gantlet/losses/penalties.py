"""Penalties: terms of the critics' loss, functions of the evidence. Critics are summed over; rows are averaged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core.critics import Critics, Evidence, Verdict
from gantlet.core.noise import uniform
from gantlet.core.registry import penalty
from gantlet.core.when import Now, Schedule, at

Every = Annotated[int, Field(ge=1)]
Strength = Annotated[Schedule, Field(ge=0)]  # under zero it would reward what it is there to stop


class Penalty(NamedTuple):
    """A term, and how often it is due: a lazy one counts `every` times as much (Karras et al. 2020, section 3.1)."""

    term: Callable[[Evidence], Tensor]
    every: int = 1

    def due(self, now: Now) -> bool:
        return now.step % self.every == 0


def slopes(verdict: Verdict, x: Tensor) -> Tensor:
    """d D(x) / d x, [N, ...]; of a patch map or sequence, its mean per row is differentiated.

    `x` must be what the critic was asked about, requiring grad; the result carries a graph.
    """
    rows = verdict.logits.flatten(1).mean(1) if verdict.logits.dim() > 1 else verdict.logits
    (slope,) = torch.autograd.grad(rows.sum(), x, create_graph=True)
    return slope.to(torch.promote_types(slope.dtype, torch.float32))


def _squared(verdicts: list[Verdict], x: Tensor) -> Tensor:
    """Sum over critics of E |d D(x) / d x|^2."""
    return torch.stack([slopes(v, x).flatten(1).square().sum(1).mean() for v in verdicts]).sum()


@penalty
def r1(*, gamma: Strength = 10.0, every: Every = 1) -> Penalty:
    """R1: gamma/2 E |grad D(x)|^2 on reals (Mescheder, Geiger and Nowozin 2018, eq. 9)."""
    return Penalty(lambda e: 0.5 * at(gamma, e.now) * _squared(e.on_real, e.real), every)


@penalty
def r2(*, gamma: Strength = 10.0, every: Every = 1) -> Penalty:
    """R2: gamma/2 E |grad D(G(z))|^2 on fakes (Mescheder, Geiger and Nowozin 2018, eq. 10)."""
    return Penalty(lambda e: 0.5 * at(gamma, e.now) * _squared(e.on_fake, e.fake), every)


@penalty
def gp(*, weight: Strength = 10.0, target: float = 1.0, every: Every = 1) -> Penalty:
    """Gradient penalty: weight E (|grad D(x^)| - 1)^2, x^ uniform between a real and a fake (Gulrajani et al. 2017)."""

    def term(e: Evidence) -> Tensor:
        between = _between(e)
        gaps = [slopes(v, between).flatten(1).norm(dim=1) - target for v in e.critics(between, *e.given)]
        return at(weight, e.now) * torch.stack([gap.square().mean() for gap in gaps]).sum()

    return Penalty(term, every)


def _between(e: Evidence) -> Tensor:
    """eps x + (1 - eps) G(z), one eps in 0..1 a row, keyed by the row's place in the joint batch."""
    n, *rest = e.real.shape
    key = (e.now.seed, e.now.step, e.now.play, "gp")
    eps = uniform((1,) * len(rest), n, key=key, first=e.now.first, device=e.real.device).to(e.real.dtype)
    between = eps * e.real + (1 - eps) * e.fake
    return between if between.requires_grad else between.requires_grad_()


def evidence(critics: Critics, real: Tensor, fake: Tensor, given: tuple[Tensor, ...], now: Now) -> Evidence:
    """Ask the critics about both, ready to be differentiated in their inputs.

    A tensor that already carries a graph (a fake under dynamics that feel the other player) is used as it is.
    """
    real, fake = _differentiable(real), _differentiable(fake)
    return Evidence(critics, real, fake, given, critics(real, *given), critics(fake, *given), now)


def _differentiable(x: Tensor) -> Tensor:
    return x if x.requires_grad else x.view_as(x).requires_grad_()
