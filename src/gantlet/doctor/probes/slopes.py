"""How steep is the critic where the reals are, and where the fakes are?"""

from __future__ import annotations

import torch
from torch import Tensor

from gantlet.core.dynamics import buffers_kept
from gantlet.doctor.probes.case import PROBES, Case
from gantlet.losses.penalties import per_row


def slopes(case: Case) -> dict[str, Tensor]:
    """slope_real: the root of E |dD/dx|^2 at reals. slope_ratio: E |dD/dx|^2 at fakes over that at reals; far above 1 it
    announces that play diverges (Huang et al. 2024, R3GAN, section 2.3).

    A patch map counts by its mean.
    """
    if not case.judges:
        return {}
    at_real, at_fake = steepness(case, case.real, "real"), steepness(case, case.fake, "fake")
    return {"slope_real": at_real.sqrt(), "slope_ratio": at_fake / at_real.clamp(min=1e-30)}


def steepness(case: Case, x: Tensor, side: str) -> Tensor:
    """E |dD/dx|^2 over the rows of x [n, ...], in its first piece."""
    x = x[: case.chunk].detach().clone().requires_grad_()
    with torch.enable_grad(), buffers_kept(case.arena.critics):
        said = per_row(case.judged(x, case.labels(len(x)), side=side)).sum()
        (slope,) = torch.autograd.grad(said, x, allow_unused=True) if said.requires_grad else (None,)
    slope = torch.zeros_like(x) if slope is None else slope  # a critic that does not look at its samples
    return slope.float().flatten(1).square().sum(1).mean()


PROBES.append(slopes)
