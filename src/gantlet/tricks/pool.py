"""A pool of fakes gone by."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.noise import uniform
from gantlet.core.registry import trick
from gantlet.core.trick import Trick
from gantlet.core.when import Now
from gantlet.tricks.kept import Kept


@trick.named("image-pool")
class ImagePool(Trick):
    """Image pool: with probability 1/2 D judges a stored fake, which the new one replaces (Shrivastava et al. 2017, 2.3).

    Each row meets a place of its own, drawn anew each time; an empty one is filled and the row judged as it is.
    """

    replaces_fakes = True

    def __init__(
        self,
        *,
        size: Annotated[int, Field(ge=1)] = 256,  # a few joint batches; the 50 of CycleGAN were 50 batches of one
    ) -> None:
        super().__init__()
        self.size = size
        self.kept: Kept | None = None

    def critic_spec(self, spec: Spec) -> Spec:
        if spec.given:
            raise InputError(
                "trick 'image-pool': stored fakes belong to other conditions than the rows they would replace; "
                "leave the trick out of conditional games"
            )
        self.kept = self.kept or Kept(self.size, spec.shape)
        return spec

    def dress(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
        if role == "G":  # what is pooled is what it makes, whatever the critics are shown
            self.kept = Kept(self.size, spec.shape)
        return net

    def judged(self, real: Tensor, fake: Tensor, now: Now) -> tuple[Tensor, Tensor]:
        n = len(fake)
        rows = now.first + n  # of the joint batch, so far: two of them must not meet one place
        if rows > self.size:
            raise InputError(
                f"trick 'image-pool': a batch with {rows} rows is more than its {self.size} places; use size={8 * rows}"
            )
        assert self.kept is not None
        key = (now.seed, now.step, now.play, "image-pool")
        order = uniform((), self.size, key=(*key, "places"), device=fake.device).argsort(stable=True)
        places = order[(now.first + torch.arange(n, device=fake.device)) % self.size]
        there, old = self.kept.filled[places], self.kept.rows(places, fake.dtype)
        half = uniform((), n, key=key, first=now.first, device=fake.device) < 0.5
        swap = _like(there & half, fake)
        self.kept.keep(places, torch.where(swap | ~_like(there, fake), fake.detach(), old))
        return real, torch.where(swap, old, fake)


def _like(rows: Tensor, x: Tensor) -> Tensor:
    """[N] -> [N, 1, ...], to broadcast over x."""
    return rows.view(-1, *[1] * (x.dim() - 1))
