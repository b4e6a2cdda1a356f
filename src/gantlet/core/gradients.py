"""What a turn said and the gradient it gave: records that stay on the device."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gantlet.core.game import Loss, Turn

Grads = list[Tensor | None]  # one for each of the player's weights


@dataclass
class Report:
    """What one turn said, on the device: nothing here has been read back."""

    terms: dict[str, Tensor] = field(default_factory=dict)
    stats: dict[str, Tensor] = field(default_factory=dict)
    views: dict[str, Tensor] = field(default_factory=dict)  # only when a watcher due now needs "views"
    gradient: Tensor | None = None  # norm over all the player's weights
    update: Tensor | None = None  # norm of the step taken; only when a watcher due now needs "updates"
    norms: Tensor | None = None  # [weights] of the gradient in each; 0 where there is none; with "updates"
    slopes: dict[str, Tensor] = field(
        default_factory=dict
    )  # sum over rows of |dL/d row| of what is felt; with "slopes"


@dataclass
class Gradient:
    """A player's gradient, averaged over micro-batches and ranks, still times the loss scale if there is one."""

    grads: Grads
    finite: Tensor  # bool, 0-d: were all terms?
    report: Report
    turn: Turn
    moved: Tensor | None = None  # bool, 0-d, after `move`: was the step taken, or refused as not finite?

    def plus(self, other: Gradient) -> Gradient:
        """The gradient of both turns' losses: a player moves once in a field."""
        report = Report(
            {**self.report.terms, **other.report.terms},
            {**self.report.stats, **other.report.stats},
            {**self.report.views, **other.report.views},
            slopes={**self.report.slopes, **other.report.slopes},
        )
        return Gradient(add(self.grads, other.grads), self.finite & other.finite, report, self.turn)


def add(a: Grads, b: Grads) -> Grads:
    """The sum, where a weight without a gradient counts as zero."""
    return [y if x is None else x if y is None else x + y for x, y in zip(a, b)]


def merge(report: Report, loss: Loss, share: float, *, views: bool, slopes: dict[str, Tensor]) -> Report:
    """Means over micro-batches, without a graph; slopes add up, each being of some rows of the whole batch's mean."""

    def mean(old: dict[str, Tensor], new: dict[str, Tensor]) -> dict[str, Tensor]:
        parts = {k: v.detach() * share if share < 1 else v.detach() for k, v in new.items()}
        return {k: old[k] + v if k in old else v for k, v in parts.items()}

    seen = dict(report.views)
    if views:
        new = {k: v.detach() for k, v in loss.views.items()}
        seen = {k: torch.cat([seen[k], v]) if k in seen else v for k, v in new.items()}
    felt = {k: report.slopes[k] + v if k in report.slopes else v for k, v in slopes.items()}
    return Report(mean(report.terms, loss.terms), mean(report.stats, loss.told), seen, slopes=felt)
