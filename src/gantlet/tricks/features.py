"""Feature matching."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core.critics import Evidence, Verdict
from gantlet.core.errors import InputError
from gantlet.core.registry import trick
from gantlet.core.trick import Trick
from gantlet.core.when import Schedule, at


@trick.named("feature-matching")
class FeatureMatching(Trick):
    """Feature matching: G also minimises |E f(x) - E f(G(z))|^2, f a critic's features (Salimans et al. 2016, 3.1).

    Critics are averaged over, layers summed. With `moments: 2` the means of f^2 are matched too.
    """

    couples_batch = True

    def __init__(
        self,
        *,
        weight: Annotated[Schedule, Field(ge=0)] = 1.0,
        layers: Annotated[tuple[int, ...], Field(min_length=1)] | None = (-1,),  # the last hidden one; null: all
        moments: Literal[1, 2] = 1,
    ) -> None:
        super().__init__()
        self.weight, self.layers, self.moments = weight, layers, moments

    def g_terms(self, seen: Evidence) -> dict[str, Tensor]:
        on_real = seen.on_real or seen.ask(seen.real, "real")
        gaps = [self._gap(real, fake) for real, fake in zip(on_real, seen.on_fake, strict=True)]
        return {"": at(self.weight, seen.now) * torch.stack(gaps).mean()}

    def _gap(self, real: Verdict, fake: Verdict) -> Tensor:
        """Sum over layers and moments of |E f(x)^k - E f(G(z))^k|^2."""
        sides = zip(self._chosen(real), self._chosen(fake), strict=True)
        return torch.stack(
            [(r.pow(k).mean(0) - f.pow(k).mean(0)).square().sum() for r, f in sides for k in range(1, self.moments + 1)]
        ).sum()

    def _chosen(self, verdict: Verdict) -> list[Tensor]:
        """The layers asked for, in at least float32."""
        features = verdict.features
        if not features:
            raise InputError(
                "trick 'feature-matching': the critic gives no features; use mlp, cnn or dcgan, or return "
                "Verdict(logits, features) from your own"
            )
        layers = range(len(features)) if self.layers is None else self.layers
        wrong = [i for i in layers if not -len(features) <= i < len(features)]
        if wrong:
            raise InputError(
                f"trick 'feature-matching': layers {wrong[0]}: the critic has {len(features)} layers of features; "
                f"use {-len(features)}..{len(features) - 1}, or null for all"
            )
        return [features[i].to(torch.promote_types(features[i].dtype, torch.float32)) for i in layers]
