"""Does a conditional generator make what it is asked for?"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.metrics.about import about
from gantlet.metrics.classify import Classifier
from gantlet.metrics.interval import of_share
from gantlet.metrics.sources import Source, batches_of, sum_up


@registry.metric.named("as-asked")
@about(interval="own", floor=False, as_asked="higher")
def as_asked(
    real: Source,
    fake: Source,
    *,
    classifier: str | Classifier | None = None,  # one that was trained, or the folder it was saved in
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """The share of fakes that a classifier of real data puts into the class they were asked for (what Odena et al. 2017
    measure of AC-GAN, section 4.2), 0..1.

    `by_class` is that of each class; `accuracy` is the classifier's own on held-out reals, which no generator of the real
    distribution exceeds by much. One of a few clear examples a class scores high: look at recall or coverage beside it.
    """
    judge = Classifier.load(classifier) if isinstance(classifier, str) else classifier
    if judge is None:
        raise InputError("as-asked needs a classifier: train one (train_classifier) or name the folder of one")
    counts = sum_up(fake, ("asked", judge.hash), lambda source: _table(source, judge, batch))
    total, right = int(counts.sum()), int(counts.diagonal().sum())
    shares = counts.diagonal() / counts.sum(1).clamp(min=1)
    return {
        "as_asked": right / total,
        "by_class": {str(y): float(share) for y, share in enumerate(shares) if int(counts[y].sum())},
        "accuracy": judge.accuracy,
        "network": judge.hash,
        "name": "share as asked",
        "real_count": 0,
        "fake_count": total,
        "intervals": {"as_asked": list(of_share(right, total))},
        "warning": "",
    }


def _table(source: Source, judge: Classifier, batch: int) -> Tensor:
    """How many fakes of each class that was asked for (rows) the judge puts into each class: int64 [K, K]."""
    counts = torch.zeros(judge.classes, judge.classes, dtype=torch.int64)
    for rows in batches_of(source, batch=batch, device=judge.device):
        if rows.y is None or rows.y.ndim != 1:
            raise InputError("these samples do not say which class they were asked for; evaluate a conditional run")
        said, asked = judge.logits(rows.x).argmax(1), rows.y.to(judge.device)
        if bool((asked < 0).any()) or bool((asked >= judge.classes).any()):
            raise InputError(f"as-asked: classes outside 0..{judge.classes - 1}, which the classifier knows")
        counts += torch.bincount(asked * judge.classes + said, minlength=judge.classes**2).view_as(counts).cpu()
    return counts
