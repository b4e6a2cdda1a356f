"""Latent optimisation."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Adversarial, Critics, Verdict
from gantlet.core.held import movable
from gantlet.core.registry import trick
from gantlet.core.trick import Given, Trick, unordered
from gantlet.core.when import Now
from gantlet.losses.penalties import for_slopes


@trick.named("latent-optimization")
class LatentOptimization(Trick):
    """LOGAN: fakes are G(z + alpha g / (|g|^2 + beta)), g = d D(G(z)) / d z, a natural step (Wu et al. 2019, eq. 8).

    Both players feel the step: its graph is kept. Samples are made of plain latents. Of a generator with `fixed_latents` n
    the last n coordinates of z, a choice (a class, a code, a network), stay as they are.
    """

    stages_with_critics = True

    def __init__(
        self,
        *,
        alpha: Annotated[float, Field(ge=0)] = 0.9,  # the paper's on ImageNet
        beta: Annotated[float, Field(gt=0)] = 0.1,
    ) -> None:
        super().__init__()
        self.alpha, self.beta = alpha, beta

    def refuse(self, pair: Adversarial) -> str | None:
        return unordered(pair)

    def latent(self, z: Tensor, given: Given, G: nn.Module, critics: Critics, now: Now) -> Tensor:
        felt = torch.is_grad_enabled()
        with torch.enable_grad(), for_slopes(z, len(z)):
            start = z if z.requires_grad else z.view_as(z).requires_grad_()
            verdicts: list[Verdict] = critics(G(start, *given), *given, now=now, side="latent")
            score = torch.stack(
                [v.logits.flatten(1).mean(1).sum() if v.logits.dim() > 1 else v.logits.sum() for v in verdicts]
            )
            (g,) = torch.autograd.grad(score.sum(), start, create_graph=felt)
        g = g * movable(G, z)
        moved = z + self.alpha * g / (g.square().sum(1, keepdim=True) + self.beta)
        return moved if felt else moved.detach()
