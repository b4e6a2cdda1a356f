"""Auxiliary classifier: a critic that says the class instead of being told it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Evidence, Verdict
from gantlet.core.game import Spec
from gantlet.core.registry import trick
from gantlet.core.trick import Trick
from gantlet.core.when import Schedule, at
from gantlet.losses.penalties import raised
from gantlet.tricks.beside import Head, read_last
from gantlet.tricks.told import label_of, passed, refuse_packs, refuse_untold, verdict_of


class Classifying(nn.Module):
    """(x, y) -> the critic's verdict on x, and as its `classes` [N, K] what a linear layer says of its features."""

    listens = True  # it is to be called with y

    def __init__(self, net: nn.Module, classes: int, told: bool) -> None:
        super().__init__()
        net, read = read_last(net, "ac-gan")
        self.read = [read]  # a plain list: it is a child of the network
        self.classifier = Head(read.width, classes)
        read.like(self.classifier)
        self.net, self.told = net, told

    def forward(self, x: Tensor, *given: Tensor) -> Verdict:
        said = verdict_of(self.net(x, *(given if self.told else given[1:])))
        return said._replace(classes=raised(self.classifier(one_a_row(self.read[0].take()))))


def one_a_row(h: Tensor) -> Tensor:
    """[N, ..., d] -> [N, d], the mean over places."""
    return h.flatten(1, -2).mean(1) if h.dim() > 2 else h


def unlike(said: Sequence[Verdict], y: Tensor) -> list[Tensor]:
    """Cross-entropy of the labels [N] under each critic's classes."""
    return [F.cross_entropy(v.classes, y) for v in said if v.classes is not None]


@trick.named("ac-gan")
class ACGAN(Trick):
    """AC-GAN: D also says the class, D and G minimise -E log P(y | x), D on reals and fakes, G on fakes (Odena, Olah and
    Shlens 2017).

    The classifier is a linear layer on what the critic's last one reads; the critic itself is not told the class.
    """

    def __init__(
        self,
        *,
        weight: Annotated[Schedule, Field(ge=0)] = 1.0,
        fakes: bool = True,  # does D learn the classes from fakes too? early ones teach it little
    ) -> None:
        super().__init__()
        self.weight, self.fakes = weight, fakes
        self.spec: Spec | None = None

    def critic_spec(self, spec: Spec) -> Spec:
        refuse_untold(spec, "ac-gan")
        self.spec = spec
        return spec._replace(classes=0, shares=())

    def dress(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
        if role != "D":
            return net
        assert self.spec is not None
        refuse_packs(self.spec, spec, "ac-gan")
        return Classifying(net, self.spec.classes, passed(net, spec))

    def d_terms(self, seen: Evidence) -> dict[str, Tensor]:
        """Summed over critics, and over both sides."""
        said = [*seen.on_real, *(seen.on_fake if self.fakes else [])]
        return {"": at(self.weight, seen.now) * torch.stack(unlike(said, label_of(seen.given, "ac-gan"))).sum()}

    def g_terms(self, seen: Evidence) -> dict[str, Tensor]:
        """The mean over critics."""
        return {
            "": at(self.weight, seen.now) * torch.stack(unlike(seen.on_fake, label_of(seen.given, "ac-gan"))).mean()
        }
