"""Optimal transport in one dimension at a time: sort and compare."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from gantlet.core.critics import Adversarial, same_shape
from gantlet.core.registry import adversarial
from gantlet.losses.relative import compared_with


def sliced(x: Tensor, y: Tensor, directions: Tensor) -> Tensor:
    """Mean over unit directions [d, L] of the squared 2-Wasserstein distance between projections of [N, d] and [N, d]."""
    with torch.autocast(x.device.type, enabled=False):  # which would project in bfloat16
        a, b = x @ directions, y @ directions
    return (a.sort(0).values - b.sort(0).values).square().mean()


@adversarial
def sliced_wasserstein(
    *,
    projections: Annotated[int, Field(ge=1)] = 64,  # random directions a turn, where a row has several logits
) -> Adversarial:
    """D learns by logistic regression, a surrogate; G minimises the mean over random directions of
    1/N sum (sorted real - sorted fake)^2 in the space of the logits (Deshpande, Zhang and Schwing 2018).

    A row's logits, [N] or [N, ...], are its place in that space; on a line there is nothing to draw. G's loss may lower
    a fake's logit: it wants their distribution, not their height.
    """

    def d(real: Tensor, fake: Tensor) -> Tensor:
        same_shape(real, fake)
        return F.softplus(-real).mean() + F.softplus(fake).mean()

    def g(fake: Tensor, real: Tensor | None) -> Tensor:
        y = compared_with(real, fake).reshape(len(fake), -1)
        x = fake.reshape(len(fake), -1)
        dims = x.shape[1]
        if dims == 1:
            return sliced(x, y, torch.ones_like(x[:1]))
        drawn = torch.randn(dims, projections, device=x.device, dtype=x.dtype)  # the engine seeds before each turn
        return sliced(x, y, drawn / drawn.norm(dim=0))

    return Adversarial(d=d, g=g, paired=True, couples_batch=True, ordered=False)
