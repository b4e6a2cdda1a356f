"""The Inception Score: sure of each sample, undecided over all of them; by any classifier."""

from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.noise import uniform
from gantlet.core.registry import Slot
from gantlet.metrics.about import about
from gantlet.metrics.classify import Classifier
from gantlet.metrics.features import Features, build, matrix_of
from gantlet.metrics.interval import GROUPS, jackknife, over_seeds
from gantlet.metrics.sources import Source, count_of, once, spec_of


class Sums(NamedTuple):
    """Of some samples: their number, sum of p log p over samples and classes, and sum of p [K]."""

    size: int
    certainty: float
    classes: Tensor

    def score(self) -> float:
        """exp of the mean of KL(p(y|x) || p(y)) = mean of sum p log p, less sum m log m of the mean m."""
        mean = self.classes / self.size
        return math.exp(max(0.0, self.certainty / self.size - float(torch.xlogy(mean, mean).sum())))


def sums_of(logits: Tensor, parts: int) -> list[Sums]:
    """Of consecutive parts of rows [N, K], part i from i N // parts on; float64."""
    found = []
    for i in range(parts):
        some = logits[i * len(logits) // parts : (i + 1) * len(logits) // parts]
        log_p = (some.cpu() if some.device.type == "mps" else some).double().log_softmax(1)
        p = log_p.exp()
        found.append(Sums(len(some), float((p * log_p).sum()), p.sum(0)))
    return found


def joined(parts: list[Sums]) -> Sums:
    """All of them in one."""
    classes = torch.stack([part.classes for part in parts]).sum(0)
    return Sums(sum(part.size for part in parts), math.fsum(part.certainty for part in parts), classes)


def inception_score_of(logits: Tensor, *, splits: int = 10) -> tuple[float, float]:
    """Mean and deviation of the scores of consecutive splits of logits [N, K], as published."""
    scores = [part.score() for part in sums_of(logits, splits)]
    mean = math.fsum(scores) / splits
    return mean, math.sqrt(math.fsum((s - mean) ** 2 for s in scores) / splits)


@registry.metric
@about(interval="own", is_mean="higher", is_whole="higher")
def inception_score(
    real: Source,
    fake: Source,
    *,
    logits: Annotated[Any, Slot("feature", optional=True)] = None,  # features that are logits; None: the classifier's
    classifier: str | Classifier | None = None,  # one that was trained, or the folder it was saved in
    splits: Annotated[int, Field(ge=2)] = 10,  # as published
    seed: int = 0,  # of the order in which samples are dealt into splits
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """Inception Score: exp E KL(p(y|x) || p(y)) of the fakes alone (Salimans et al. 2016), from 1 to the classes.

    `is_mean` is the mean over `splits`, with `is_std`, as published: it depends on the size of a split; `is_whole` is
    of all fakes at once. It sees neither real samples, nor memorised ones, nor missing variety inside a class. Named IS
    for the genuine Inception alone. The samples are shuffled first: a folder is often in the order of its classes.
    """
    seen = _judge(logits, classifier, fake if once(real) else real)
    rows = matrix_of(fake, seen, batch=batch)
    if len(rows) < splits:
        raise InputError(f"{splits} splits need at least {splits} samples, there are {len(rows)}; take fewer splits")
    order = uniform((len(rows),), 1, key=(seed, "inception-score"))[0].argsort().to(rows.device)
    rows = rows[order]
    mean, deviation = inception_score_of(rows, splits=splits)
    scores = [part.score() for part in sums_of(rows, splits)]
    parts = sums_of(rows, min(GROUPS, len(rows)))
    whole = joined(parts).score()
    less = [joined(parts[:i] + parts[i + 1 :]).score() for i in range(len(parts))]
    per_class = len(rows) // splits / seen.dimension
    few = f"{len(rows) // splits} samples a split for {seen.dimension} classes: the score is low for want of samples"
    return {
        "is_mean": mean,
        "is_std": deviation,
        "is_whole": whole,
        "names": {"is_mean": seen.called("IS"), "is_whole": f"{seen.called('IS')} whole"},
        "intervals": {"is_mean": list(over_seeds(scores)[:2]), "is_whole": list(jackknife(whole, less)[:2])},
        "splits": splits,
        "classes": seen.dimension,
        "network": seen.hash,
        "real_count": count_of(real) or 0,
        "fake_count": len(rows),
        "warning": few if per_class < 2 else "",
    }


def _judge(logits: Any, classifier: str | Classifier | None, shown: Source) -> Features:
    """What answers with logits."""
    if logits is not None:
        return build(logits, lambda: spec_of(shown))
    judge = Classifier.load(classifier) if isinstance(classifier, str) else classifier
    if judge is None:
        raise InputError("an inception score needs logits: features like inception-logits, or a classifier of the data")
    seen = judge.features
    return Features(seen.name, judge.net, judge.classes, size=seen.size, channels=seen.channels)
