"""Losses of energies: a critic's logit is minus the energy of a sample, low for reals (an autoencoder's error).

An energy is at least 0, which is all that bounds them: of any other logit D's loss has no least. So a critic has to say
that its logit is one (`energy = True`), and `began` is no loss in which steepness pays: k answers.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Adversarial, labelled
from gantlet.core.registry import adversarial


@adversarial
def ebgan(
    *,
    margin: Annotated[float, Field(gt=0)] = 1.0,  # in units of the energy, which `autoencoder` takes a mean of
) -> Adversarial:
    """EBGAN: D minimises E e(x) + E max(0, m - e(G(z))), G minimises E e(G(z)), e minus the logit (Zhao, Mathieu and
    LeCun 2017, eq. 1-2); needs D=autoencoder.
    """
    pair = labelled(torch.neg, lambda fake: F.relu(margin + fake), lambda fake, real: -fake.mean())
    return pair._replace(of_energies=True)


class Balance(nn.Module):
    """BEGAN's k_t, in 0..1."""

    k: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("k", torch.zeros(()))

    @torch.no_grad()
    def update(self, real: Tensor, fake: Tensor, gamma: float, rate: float) -> None:
        """k + lambda (gamma e(x) - e(G(z))), where the energies' means are finite."""
        step = rate * (gamma * real - fake)
        self.k.copy_((self.k + step.nan_to_num(0.0, 0.0, 0.0)).clamp(0, 1))


@adversarial
def began(
    *,
    gamma: Annotated[float, Field(ge=0, le=1)] = 0.5,  # wanted E e(G(z)) / E e(x): lower is sharper and less diverse
    rate: Annotated[float, Field(ge=0)] = 0.001,  # the paper's lambda
) -> Adversarial:
    """BEGAN: D minimises E e(x) - k E e(G(z)), G minimises E e(G(z)), k += lambda (gamma E e(x) - E e(G(z))), e minus
    the logit (Berthelot, Schumm and Metz 2017, section 3.4); needs D=autoencoder.

    k begins at 0, stays in 0..1 and moves each time D's loss is taken, by D's own batch.
    """
    state = Balance()

    def d(real: Tensor, fake: Tensor) -> Tensor:
        on_real, on_fake = -real.mean(), -fake.mean()
        k = state.k.to(on_fake, copy=True)  # the graph keeps this k, not the next
        state.update(on_real, on_fake, gamma, rate)
        return on_real - k * on_fake

    return Adversarial(d=d, g=lambda fake, real: -fake.mean(), couples_batch=True, of_energies=True, state=state)
