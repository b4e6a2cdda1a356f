"""Losses that judge a sample relative to the average of the other side."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from gantlet.core.critics import Adversarial, same_shape
from gantlet.core.registry import adversarial


def compared_with(real: Tensor | None, fake: Tensor) -> Tensor:
    """The reals a paired loss compares its fakes with; a ValueError where there are none, or of another shape."""
    if real is None:
        raise ValueError("this loss compares fakes with reals; none were given")
    same_shape(real, fake)
    return real


@adversarial
def relativistic_average() -> Adversarial:
    """RaGAN: D minimises E softplus(E D(G(z)) - D(x)) + E softplus(D(G(z)) - E D(x)), G the same with the sides swapped
    (Jolicoeur-Martineau 2019).

    Averages are over all logits of the batch.
    """

    def d(real: Tensor, fake: Tensor) -> Tensor:
        same_shape(real, fake)
        return F.softplus(fake.mean() - real).mean() + F.softplus(fake - real.mean()).mean()

    def g(fake: Tensor, real: Tensor | None) -> Tensor:
        return d(fake, compared_with(real, fake))

    return Adversarial(d=d, g=g, paired=True, couples_batch=True)
