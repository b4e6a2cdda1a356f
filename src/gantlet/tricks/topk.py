"""Top-k training."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core.critics import Adversarial
from gantlet.core.registry import trick
from gantlet.core.trick import Trick, unordered
from gantlet.core.when import Now


@trick.named("top-k")
class TopK(Trick):
    """Top-k: only the k fakes D scores highest count for G, k/N = max(gamma^(step // every), floor) (Sinha et al. 2020).

    Of a patch map or sequence a row's score is its mean.
    """

    couples_batch = True

    def __init__(
        self,
        *,
        gamma: Annotated[float, Field(gt=0, le=1)] = 0.99,
        every: Annotated[int, Field(ge=1)] = 500,  # steps; an epoch of the paper
        floor: Annotated[float, Field(gt=0, le=1)] = 0.5,  # the paper's nu
    ) -> None:
        super().__init__()
        self.gamma, self.every, self.floor = gamma, every, floor

    def refuse(self, pair: Adversarial) -> str | None:
        return unordered(pair)

    def chosen(self, fake: Tensor, now: Now) -> Tensor | None:
        k = max(1, round(len(fake) * max(self.gamma ** (now.step // self.every), self.floor)))
        scores = fake.flatten(1).mean(1) if fake.dim() > 1 else fake
        return torch.topk(scores, k).indices
