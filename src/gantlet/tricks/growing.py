"""Progressive growing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Adversarial, Critics
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

    Stages and fades are equally long and end in the middle of the run; a run that goes on for longer
    grows by its new length, so what was full-grown may be half-grown again. Lengths in images hold however long the run
    is: if they do not fit, it ends half-grown. Samples keep their full size all along, their pixels repeated; D looks at
    the means of as many pixels, so what a penalty calls a slope is one in the full image at every stage. Optimisers are
    not begun anew with a stage, as the paper's are: what is faded in has no moments yet.
    """

    def __init__(
        self,
        *,
        stage_images: Annotated[int, Field(ge=1)] | None = None,  # at each size; the paper's: 800,000
        fade_images: Annotated[int, Field(ge=0)] | None = None,  # from each size to the next; the paper's: 800,000
        steps: Annotated[int, Field(ge=1)] | None = None,  # half of which are for growing; null: the run's
    ) -> None:
        super().__init__()
        self.stage_images, self.fade_images, self.steps = stage_images, fade_images, steps
        self.paired = False
        self.grown: list[Growth] = []  # a list, not modules: they belong to the networks
        self.fade: Callable[[Tensor], Tensor] | None = None  # what the critic makes of reals in a fade

    def level(self, now: Now) -> float:
        """How many doublings are in use; the last one by its fraction."""
        stage, fade = self._lengths(now)
        if now.images < stage:
            return 0.0
        done, rest = divmod(now.images - stage, fade + stage)
        return done + (1.0 if rest >= fade else rest / fade)

    def _lengths(self, now: Now) -> tuple[float, float]:
        """Images of a stage and of a fade; what is not said is the other's share of growing in half of the steps."""
        stage, fade = self.stage_images, self.fade_images
        if stage is not None and fade is not None:
            return stage, fade
        doublings = max((growth.most for growth in self.grown), default=1)
        both = (self.steps or 1) / 2 * now.images / max(now.step, 1) / doublings  # batches are equally large
        if stage is None and fade is None:
            return max(both / 2, 1.0), both / 2
        return (max(both - fade, 1.0), fade) if fade is not None else (stage or 1, max(both - (stage or 1), 0.0))

    def settle(self, now: Now) -> None:
        level = self.level(now)
        for growth in self.grown:
            growth.set(level)

    def dress(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
        if (self.stage_images is None or self.fade_images is None) and self.steps is None:
            raise InputError(
                "trick 'growing': stage_images and fade_images follow from the length of the run, which is not known here; "
                "give both, or steps"
            )
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

    def refuse(self, pair: Adversarial) -> str | None:
        self.paired |= pair.paired
        return None

    def judged(self, real: Tensor, fake: Tensor, now: Now) -> tuple[Tensor, Tensor]:
        """Reals as G could draw them now; where the penalties look for slopes, too."""
        return (real if self.paired else self._faded(real)), fake

    def shown(self, x: Tensor, given: Given, now: Now, side: str) -> tuple[Tensor, Given]:
        """Where G's loss looks at reals, they are faded before the critics, in both turns alike: through the fade a penalty
        on reals feels the full image, and points between reals and fakes have the reals' whole detail.
        """
        return (self._faded(x) if self.paired and side == "real" else x), given

    def _faded(self, real: Tensor) -> Tensor:
        return real if self.fade is None else self.fade(real)
