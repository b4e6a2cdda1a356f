"""Which classes the samples fall into, as a classifier sees them, and how sure it is."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.metrics.about import about
from gantlet.metrics.classify import Classifier
from gantlet.metrics.sources import Source, batches_of, sum_up


class Histogram:
    """How many samples fell into each class, and how many the classifier was sure of; adds up over batches."""

    def __init__(self, classes: int, *, confidence: float = 0.9, of: str = "") -> None:
        self.counts = torch.zeros(classes, dtype=torch.int64)
        self.confident, self.confidence, self.of = 0, confidence, of

    @property
    def count(self) -> int:
        return int(self.counts.sum())

    @property
    def shares(self) -> Tensor:
        """float64 [classes], sums to 1."""
        return self.counts.double() / max(1, self.count)

    def add(self, logits: Tensor) -> None:
        """Take in logits [n, classes]: the largest is the class, sure where its probability is over `confidence`."""
        sure, label = logits.softmax(1).max(1)
        self.counts += torch.bincount(label, minlength=len(self.counts)).cpu()
        self.confident += int((sure > self.confidence).sum())

    @staticmethod
    def merged(parts: list[Histogram]) -> Histogram:
        """All of them in one."""
        whole = Histogram(len(parts[0].counts), confidence=parts[0].confidence, of=parts[0].of)
        for part in parts:
            whole.counts += part.counts
            whole.confident += part.confident
        return whole


def histogram_of(source: Source, classifier: Classifier, *, confidence: float = 0.9, batch: int = 256) -> Histogram:
    """The class histogram of a source, read in one pass."""

    def make(source: Source) -> Histogram:
        histogram = Histogram(classifier.classes, confidence=confidence, of=classifier.hash)
        for rows in batches_of(source, batch=batch, device=classifier.device):
            histogram.add(classifier.logits(rows.x))
        return histogram

    return sum_up(source, ("classes", classifier.hash, confidence), make, Histogram.merged)


def divergence(p: Tensor, q: Tensor) -> float:
    """KL(p || q) = sum p log(p / q) of two distributions [K], in nats; infinite where q misses a class of p."""
    p, q = p.double(), q.double()
    seen = p > 0
    return max(0.0, float((p[seen] * (p[seen] / q[seen]).log()).sum()))


@registry.metric
@about(kl="lower", confident="higher")
def classes(
    real: Source | Histogram,
    fake: Source | Histogram,
    *,
    classifier: str | Classifier | None = None,  # one that was trained, or the folder it was saved in
    confidence: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """KL(fake classes || real classes) in nats, by one classifier on both (Che et al. 2017, "Mode regularized GAN").

    `kl_floor` is (K - 1) / 2N, what a perfect generator scores on average from N samples of K classes. `modes` counts
    the classes hit at least once, `solid_modes` those with a share of at least 0.2 / K, `smallest_share` is over the
    K classes that the real set has. A class only the fakes have counts as half a real sample, and `warning` says so.
    """
    judge = Classifier.load(classifier) if isinstance(classifier, str) else classifier
    if judge is None:
        raise InputError("the classes need a classifier: train one (train_classifier) or name the folder of one")
    r, f = (_histogram(s, judge, confidence, batch) for s in (real, fake))
    p, q = f.shares, r.shares
    kinds = int((q > 0).sum())
    alien = (p > 0) & (q == 0)
    return {
        "kl": divergence(p, torch.where(alien, 0.5 / r.count, q)),
        "kl_floor": (kinds - 1) / (2 * f.count),
        "classes": kinds,
        "modes": int((p[q > 0] > 0).sum()),
        "solid_modes": int((p[q > 0] >= 0.2 / kinds).sum()),
        "smallest_share": float(p[q > 0].min()),
        "confident": f.confident / f.count,
        "real_confident": r.confident / r.count,
        "histogram": p.tolist(),
        "real_histogram": q.tolist(),
        "names": {"kl": "class KL", "confident": f"share above {confidence:g}"},
        "network": judge.hash,
        "accuracy": judge.accuracy,
        "real_count": r.count,
        "fake_count": f.count,
        "warning": _unseen(alien),
    }


def _histogram(side: Source | Histogram, judge: Classifier, confidence: float, batch: int) -> Histogram:
    found = side if isinstance(side, Histogram) else histogram_of(side, judge, confidence=confidence, batch=batch)
    if (found.of, found.confidence) != (judge.hash, confidence):
        raise InputError("a class histogram of another classifier or confidence was given; make both with one")
    return found


def _unseen(alien: Tensor) -> str:
    found = alien.nonzero().flatten().tolist()
    return f"no real sample is of class {', '.join(map(str, found))}: counted as half a sample" if found else ""
