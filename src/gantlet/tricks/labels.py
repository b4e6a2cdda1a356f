"""What critics are told: soft labels and wrong ones."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core.critics import Adversarial
from gantlet.core.errors import InputError
from gantlet.core.noise import uniform
from gantlet.core.registry import trick
from gantlet.core.trick import Trick
from gantlet.core.when import Now, Schedule, at

Label = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[Schedule, Field(ge=0, le=0.5)]  # above, more labels are wrong than right: D would learn the opposite


def _no_labels(pair: Adversarial) -> str | None:
    if pair.as_real is not None and pair.as_fake is not None:
        return None
    return (
        "this loss has no labels: it does not cost each logit alone as real or as fake; "
        "use adversarial=non-saturating, minimax, least-squares or hinge, or leave the trick out"
    )


@trick.named("label-smoothing")
class LabelSmoothing(Trick):
    """Label smoothing: D is told 0.9 of reals and 0 of fakes, so it is never sure (Salimans et al. 2016, section 3.4).

    One-sided by default: with `fake` above zero, D's optimum keeps samples where there is no data.
    """

    def __init__(
        self,
        *,
        real: Label = 0.9,  # what D is told of reals; above `fake`
        fake: Label = 0.0,  # what D is told of fakes
    ) -> None:
        super().__init__()
        if real <= fake:
            raise InputError(
                f"trick 'label-smoothing': real={real} is not above fake={fake}, so D would learn to call fakes real; "
                "use real=0.9 and fake=0"
            )
        self.real, self.fake = real, fake

    def refuse(self, pair: Adversarial) -> str | None:
        if pair.steepness_pays:
            return (
                "under this loss no logit is sure enough, and a soft label pays D for moving all logits alike, without "
                "end; use adversarial=non-saturating, minimax, least-squares or hinge, or leave the trick out"
            )
        return _no_labels(pair)

    def labels(self, real: Tensor, fake: Tensor, now: Now) -> tuple[Tensor, Tensor]:
        return self._soft(real), self._soft(fake)

    def _soft(self, label: Tensor) -> Tensor:
        return self.fake + (self.real - self.fake) * label


@trick.named("label-flipping")
class LabelFlipping(Trick):
    """Label flipping: each row's label is wrong with probability p, at most 1/2 (Chintala et al. 2016, "How to train a
    GAN?", 6).
    """

    def __init__(
        self,
        *,
        p: Share = 0.05,  # a twentieth blurs D's certainty; near 0.5 nothing is learned
    ) -> None:
        super().__init__()
        self.p = p

    def refuse(self, pair: Adversarial) -> str | None:
        return _no_labels(pair)

    def labels(self, real: Tensor, fake: Tensor, now: Now) -> tuple[Tensor, Tensor]:
        return self._flipped(real, now, "real"), self._flipped(fake, now, "fake")

    def _flipped(self, label: Tensor, now: Now, side: str) -> Tensor:
        key = (now.seed, now.step, now.play, "label-flipping", side)
        draw = uniform((), len(label), key=key, first=now.first, device=label.device)
        return torch.where(draw < at(self.p, now), 1 - label, label)
