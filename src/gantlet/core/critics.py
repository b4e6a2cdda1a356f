"""One or many critics seen as one, and what a penalty may look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gantlet.core.when import Now


class Verdict(NamedTuple):
    """What one critic says of a batch."""

    logits: Tensor  # [N, ...]: a scalar, a patch map, a sequence
    features: Sequence[Tensor] = ()


class Critics(nn.Module):
    """One or many critics; augments once (x and image-like `given` with one draw) and answers a list.

    A critic returns a `Verdict` or bare logits [N, ...]. Logits come back in at least float32, whatever the precision
    of the networks.
    """

    def __init__(self, critics: Mapping[str, nn.Module], *, augment: nn.Module | None = None) -> None:
        super().__init__()
        self.critics = nn.ModuleDict(critics)
        self.augment = augment

    def forward(self, x: Tensor, *given: Tensor) -> list[Verdict]:
        if self.augment is not None:
            x, *rest = self.augment(x, *given)
            given = tuple(rest)
        return [_verdict(critic(x, *given)) for critic in self.critics.values()]


def _verdict(said: Verdict | Tensor) -> Verdict:
    verdict = said if isinstance(said, Verdict) else Verdict(said)
    logits = verdict.logits
    return Verdict(logits.to(torch.promote_types(logits.dtype, torch.float32)), verdict.features)


class Evidence(NamedTuple):
    """What a penalty sees of the critics' turn."""

    critics: Critics
    real: Tensor  # [N, ...]; requires grad
    fake: Tensor  # [N, ...]; requires grad
    given: tuple[Tensor, ...]
    on_real: list[Verdict]
    on_fake: list[Verdict]
    now: Now


Penalty = Callable[[Evidence], Tensor]


class Adversarial(NamedTuple):
    """A loss is a pair of functions on logits; both are minimised."""

    d: Callable[[Tensor, Tensor], Tensor]  # (real, fake), equal shapes
    g: Callable[[Tensor, Tensor | None], Tensor]  # (fake, real)
    paired: bool = False  # capability: does g look at real?
    couples_batch: bool = False  # capability: does a row's loss depend on the other rows?


def same_shape(real: Tensor, fake: Tensor) -> None:
    """A ValueError that names both shapes when they differ: broadcasting would hide it."""
    if real.shape != fake.shape:
        raise ValueError(f"real logits {tuple(real.shape)} and fake logits {tuple(fake.shape)} differ in shape")
