"""R1 and R2 by finite differences: no second derivative, so compiled critics and fused attention can be penalised."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.utils import parametrize

from gantlet.core.critics import Evidence, Verdict
from gantlet.core.machine import generators_at, rewind_generators
from gantlet.core.registry import penalty
from gantlet.core.when import at
from gantlet.losses.penalties import Every, Penalty, Strength, exactly, low_precision, normals, per_row, raised

# small against what the critic looks for, large against the rounding of its logits: float32 has lost a thousandth at 1e-4
Sigma = Annotated[float, Field(ge=1e-4)]
Draws = Annotated[int, Field(ge=1, le=64)]  # directions, one more evaluation of the critics each


@penalty
def fd_r1(*, gamma: Strength = 10.0, sigma: Sigma = 0.01, draws: Draws = 1, every: Every = 1) -> Penalty:
    """R1 by differences: gamma/2 E ((D(x + sigma v) - D(x)) / sigma)^2 on reals, v normal, which tends to R1 in the mean
    (Lin et al. 2025, "Diffusion adversarial post-training", whose weight is gamma / (2 sigma^2)).

    The error of the mean is of order sigma^2. Dropout draws the same at both points; under batch norm rows share a slope.
    """

    def term(e: Evidence) -> Tensor:
        return 0.5 * at(gamma, e.now) * _rises(e, e.real, e.on_real, "real", sigma, draws)

    return Penalty(term, every)


@penalty
def fd_r2(*, gamma: Strength = 10.0, sigma: Sigma = 0.01, draws: Draws = 1, every: Every = 1) -> Penalty:
    """R2 by differences: gamma/2 E ((D(G(z) + sigma v) - D(G(z))) / sigma)^2, v normal (Lin et al. 2025).

    The error of the mean is of order sigma^2. Dropout draws the same at both points; under batch norm rows share a slope.
    """

    def term(e: Evidence) -> Tensor:
        return 0.5 * at(gamma, e.now) * _rises(e, e.fake, e.on_fake, "fake", sigma, draws)

    return Penalty(term, every)


def _rises(e: Evidence, x: Tensor, said: list[Verdict], side: str, sigma: float, draws: int) -> Tensor:
    """Sum over critics of E ((D(x + sigma v) - D(x)) / sigma)^2 over rows of logits and draws.

    Lenses draw the same for the same side, so both points are seen alike. The division would blow up the rounding of
    low precision, how a parametrised weight (spectral norm) differs a little at each use, and what a critic draws
    (dropout): there both points are asked about anew, in full precision, with one weight and the same draws.
    """
    drifts = any(parametrize.is_parametrized(module) for module in e.critics.modules())
    anew = drifts or low_precision(x)
    found = []
    with exactly(x), parametrize.cached():
        x = raised(x)
        start = generators_at(x.device)
        here = e.ask(x, side) if anew else said
        for k in range(draws):
            rewind_generators(x.device, start)
            there = e.ask(x + sigma * normals(e, x, "fd", side, k), side)
            if here is said and not all(map(torch.equal, generators_at(x.device), start)):  # the critics drew
                rewind_generators(x.device, start)
                here = e.ask(x, side)
            rises = [(per_row(b) - per_row(a)) / sigma for a, b in zip(here, there, strict=True)]
            found.append(torch.stack([rise.square().mean() for rise in rises]).sum())
    return torch.stack(found).mean()
