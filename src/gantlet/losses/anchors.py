"""Penalties that hold the critics' logits where they are wanted."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Evidence
from gantlet.core.registry import penalty
from gantlet.core.when import at
from gantlet.losses.penalties import Every, Penalty, Strength
from gantlet.losses.running import RunningMean

Decay = Annotated[float, Field(ge=0, lt=1)]
MOST = 64  # critics that averages are kept for


@penalty
def lecam(
    *,
    weight: Strength = 0.3,  # as for BigGAN on CIFAR-10; StyleGAN2 wants far less
    decay: Decay = 0.99,
    after: Annotated[int, Field(ge=0)] = 1000,  # steps: the averages of a game that has just begun hold nothing
    every: Every = 1,
) -> Penalty:
    """LeCam: weight (E (D(x) - a_F)^2 + E (D(G(z)) - a_R)^2), a_R and a_F exponential averages of the logits of reals
    and of fakes (Tseng et al. 2021).

    The averages, one pair a critic, move whenever the penalty is due, before it is read and also before step `after`;
    they begin at the first batch's mean.
    """
    of_real, of_fake = RunningMean(MOST, decay), RunningMean(MOST, decay)

    def term(e: Evidence) -> Tensor:
        real, fake = [v.logits for v in e.on_real], [v.logits for v in e.on_fake]
        a_real = of_real.update(torch.stack([r.mean() for r in real]))
        a_fake = of_fake.update(torch.stack([f.mean() for f in fake]))
        if e.now.step < after:
            return a_real.new_zeros(())
        gaps = [(r - a).square().mean() for r, a in zip(real, a_fake)]
        gaps += [(f - a).square().mean() for f, a in zip(fake, a_real)]
        return at(weight, e.now) * torch.stack(gaps).sum()

    state = nn.ModuleDict({"real": of_real, "fake": of_fake})
    return Penalty(term, every, couples_batch=True, state=state)


@penalty
def logit_l2(*, weight: Strength = 0.001, fakes: bool = False, every: Every = 1) -> Penalty:
    """Drift term: weight E D(x)^2, over reals and, on request, fakes too (Karras et al. 2018, appendix A.1)."""

    def term(e: Evidence) -> Tensor:
        said = [*e.on_real, *(e.on_fake if fakes else [])]
        return at(weight, e.now) * torch.stack([v.logits.square().mean() for v in said]).sum()

    return Penalty(term, every)
