"""Contrast in logits: one sample of a side against the whole batch of the other."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from gantlet.core.critics import Adversarial, same_shape
from gantlet.core.registry import adversarial
from gantlet.losses.relative import compared_with


@adversarial
def dual_contrastive() -> Adversarial:
    """D minimises E_x log(1 + sum_z exp(D(G(z)) - D(x))) + E_z log(1 + sum_x exp(D(G(z)) - D(x))), one real against a
    batch of fakes and one fake against a batch of reals; G the same with the sides swapped (Yu et al. 2021, section 3).

    Sums are over the rows of the batch, at each place of a patch map.
    """

    def d(real: Tensor, fake: Tensor) -> Tensor:
        same_shape(real, fake)
        against_fakes = F.softplus(fake.logsumexp(0, keepdim=True) - real)
        against_reals = F.softplus(fake + (-real).logsumexp(0, keepdim=True))
        return against_fakes.mean() + against_reals.mean()

    def g(fake: Tensor, real: Tensor | None) -> Tensor:
        return d(fake, compared_with(real, fake))

    return Adversarial(d=d, g=g, paired=True, couples_batch=True)
