"""Critics that see blurred images at first."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from gantlet.augment.pixels import alike, refuse_points
from gantlet.core.game import Spec
from gantlet.core.registry import trick
from gantlet.core.trick import Given, Trick
from gantlet.core.when import Now


@trick
class Blurring(Trick):
    """Blurring: critics see x and G(z) through a Gaussian whose width falls to nothing over the first images (Karras et
    al. 2021, appendix, for StyleGAN3-R).

    A generator without 3 x 3 convolutions learns fine detail late; a critic that judges it from the start wins at once.
    """

    def __init__(
        self,
        *,
        sigma: Annotated[float, Field(gt=0, le=1)] = 10 / 256,  # of the longer side; the paper's 10 pixels at 256 x 256
        images: Annotated[int, Field(ge=1)] = 200_000,  # after so many it is gone
    ) -> None:
        super().__init__()
        self.sigma, self.images = sigma, images

    def critic_spec(self, spec: Spec) -> Spec:
        refuse_points(spec, "blurring")
        return spec

    def shown(self, x: Tensor, given: Given, now: Now, side: str) -> tuple[Tensor, Given]:
        left = 1 - now.images / self.images
        if left <= 0:
            return x, given
        sigma = self.sigma * left * max(x.shape[2:])

        def change(image: Tensor) -> Tensor:
            rows, cols = (_gaussian(n, sigma, image) for n in image.shape[2:])
            return rows @ image @ cols.t()

        return alike(x, given, change)


def _gaussian(n: int, sigma: float, x: Tensor) -> Tensor:
    """What every pixel of a row takes from every other, [n, n]; sums to one at the borders too."""
    place = torch.arange(n, device=x.device, dtype=torch.float32)
    weights = torch.exp(-0.5 * ((place - place.unsqueeze(1)) / sigma).square())
    return (weights / weights.sum(1, keepdim=True)).to(x.dtype)
