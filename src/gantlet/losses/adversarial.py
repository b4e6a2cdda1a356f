"""Adversarial losses: pairs of functions on logits, both minimised. Real comes first in D's, fake first in G's.

Every mean is over all logits, so a patch map counts each patch; the optimum and the divergence named are the papers'.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from gantlet.core.critics import Adversarial, labelled, same_shape
from gantlet.core.errors import InputError
from gantlet.core.registry import adversarial


def _as_real(logits: Tensor) -> Tensor:
    """-log D(x), D the sigmoid of the logit."""
    return F.softplus(-logits)


@adversarial
def minimax() -> Adversarial:
    """min_G max_D E log D(x) + E log(1 - D(G(z))), the saturating original (Goodfellow et al. 2014, eq. 1)."""
    return labelled(_as_real, F.softplus, lambda fake, real: -F.softplus(fake).mean())


@adversarial
def non_saturating() -> Adversarial:
    """G maximises E log D(G(z)) instead, which still has a gradient when D wins (Goodfellow et al. 2014, section 3)."""
    return labelled(_as_real, F.softplus, lambda fake, real: F.softplus(-fake).mean())


@adversarial
def wasserstein() -> Adversarial:
    """D minimises E D(G(z)) - E D(x); needs a Lipschitz critic (Arjovsky, Chintala and Bottou 2017, eq. 3)."""
    pair = labelled(torch.neg, lambda fake: fake, lambda fake, real: -fake.mean())
    return pair._replace(steepness_pays=True)


@adversarial
def least_squares(
    *,
    real_target: float = 1.0,
    fake_target: float = 0.0,
    wanted: float = 1.0,  # what G wants D to say
) -> Adversarial:
    """1/2 E (D(x) - b)^2 + 1/2 E (D(G(z)) - a)^2 and 1/2 E (D(G(z)) - c)^2 (Mao et al. 2017, eq. 9).

    b and c lie on one side of a. Where that is below it, a higher logit means a worse sample.
    """
    if (real_target - fake_target) * (wanted - fake_target) <= 0:
        raise InputError(
            f"adversarial 'least-squares': real_target={real_target:g} and wanted={wanted:g} must both be above "
            f"fake_target={fake_target:g}, or both below, or G would be paid for being told apart; use real_target=1, "
            "fake_target=0 and wanted=1"
        )
    pair = labelled(
        lambda real: 0.5 * (real - real_target).square(),
        lambda fake: 0.5 * (fake - fake_target).square(),
        lambda fake, real: 0.5 * (fake - wanted).square().mean(),
    )
    return pair._replace(ordered=real_target > fake_target)


@adversarial
def hinge(*, margin: Annotated[float, Field(gt=0)] = 1.0) -> Adversarial:
    """D: E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))); G: -E D(G(z)) (Lim and Ye 2017; Miyato et al. 2018, eq. 16)."""
    return labelled(
        lambda real: F.relu(margin - real), lambda fake: F.relu(margin + fake), lambda fake, real: -fake.mean()
    )


@adversarial
def relativistic() -> Adversarial:
    """Relativistic pair: D minimises E softplus(D(G(z)) - D(x)), G the same with the sign turned (Jolicoeur-Martineau
    2019; with R1 and R2 the loss of Huang et al. 2024, "The GAN is dead; long live the GAN!", eq. 1).
    """

    def d(real: Tensor, fake: Tensor) -> Tensor:
        same_shape(real, fake)
        return F.softplus(fake - real).mean()

    def g(fake: Tensor, real: Tensor | None) -> Tensor:
        if real is None:
            raise ValueError("the relativistic pair compares fakes with reals; none were given")
        same_shape(real, fake)
        return F.softplus(real - fake).mean()

    return Adversarial(d=d, g=g, paired=True)


adversarial.also |= {
    "bce": "non-saturating", "gan": "non-saturating", "vanilla": "non-saturating", "ns": "non-saturating",
    "wgan": "wasserstein", "w": "wasserstein", "lsgan": "least-squares", "mse": "least-squares", "rpgan": "relativistic",
    "rgan": "relativistic", "ragan": "relativistic-average", "js": "jensen-shannon",
}  # fmt: skip
