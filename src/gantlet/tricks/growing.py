"""Progressive growing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Critics
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.registry import trick
from gantlet.core.trick import Given, Trick
from gantlet.core.when import Now
from gantlet.nets.growth import Growth


@trick.named("growing")
class Growing(Trick):
    """Growing: G and D begin with the smallest images, and each doubling is faded in, a (new) + (1 - a) (old), a rising
    from 0 to 1 with the images seen (Karras et al. 2018, section 2 and figure 2).

    Samples keep their full size all along, their pixels repeated; D looks at the means of as many pixels, so what a
    penalty calls a slope is one in the full image at every stage. Optimisers are not begun anew with a stage, as the
    paper's are: what is faded in has no moments yet.
    """

    def __init__(
        self,
        *,
        stage_images: Annotated[int, Field(ge=1)] = 800_000,  # at each size; the paper's
        fade_images: Annotated[int, Field(ge=0)] = 800_000,  # from each size to the next; the paper's
    ) -> None:
        super().__init__()
        self.stage_images, self.fade_images = stage_images, fade_images
        self.grown: list[Growth] = []  # a list, not modules: they belong to the networks
        self.fade: Callable[[Tensor], Tensor] | None = None  # what the critic makes of reals in a fade

    def level(self, images: int) -> float:
        """How many doublings are in use after so many images; the last one by its fraction."""
        if images < self.stage_images:
            return 0.0
        done, rest = divmod(images - self.stage_images, self.fade_images + self.stage_images)
        return done + (1.0 if rest >= self.fade_images else rest / self.fade_images)

    def settle(self, now: Now) -> None:
        level = self.level(now.images)
        for growth in self.grown:
            growth.set(level)

    def dress(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
        growing = next((m for m in net.modules() if callable(getattr(m, "grow", None))), None)
        if growing is None:
            raise InputError(
                f"trick 'growing': {role} is {type(net).__name__}, which cannot grow; use progan, or leave the trick out"
            )
        growth: Growth = growing.grow()  # type: ignore[operator]
        self.grown.append(growth)
        self.fade = getattr(growing, "faded", self.fade)
        return net

    def latent(self, z: Tensor, given: Given, G: nn.Module, critics: Critics, now: Now) -> Tensor:
        self.settle(now)  # before the fakes are made: both players are always at one stage
        return z

    def begin(self, now: Now) -> None:
        self.settle(now)

    def judged(self, real: Tensor, fake: Tensor, now: Now) -> tuple[Tensor, Tensor]:
        return real if self.fade is None else self.fade(real), fake
