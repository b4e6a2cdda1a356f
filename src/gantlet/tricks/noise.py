"""Instance noise."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from gantlet.core.noise import normal
from gantlet.core.registry import trick
from gantlet.core.trick import Given, Trick
from gantlet.core.when import Now, Schedule, at


@trick.named("instance-noise")
class InstanceNoise(Trick):
    """Instance noise: critics see x + N(0, sigma^2) of both sides (Sonderby et al. 2017; Arjovsky and Bottou 2017)."""

    def __init__(
        self,
        *,
        sigma: Annotated[Schedule, Field(ge=0)] = 0.1,  # the papers anneal it: {use: linear, start: 0.1}
    ) -> None:
        super().__init__()
        self.sigma = sigma

    def shown(self, x: Tensor, given: Given, now: Now, side: str) -> tuple[Tensor, Given]:
        sigma = at(self.sigma, now)
        if sigma == 0:
            return x, given
        key = (now.seed, now.step, now.play, "instance-noise", side)
        noise = normal(tuple(x.shape[1:]), len(x), key=key, first=now.first, device=x.device)
        return x + sigma * noise.to(x.dtype), given
