"""Can a classifier learn the classes from the fakes alone?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Spec
from gantlet.core.noise import uniform
from gantlet.metrics.about import about
from gantlet.metrics.classify import Classifier
from gantlet.metrics.interval import of_mean, of_share
from gantlet.metrics.learn import train_classifier
from gantlet.metrics.sources import Kept, Picked, Rows, Source, batches_of, sum_up

_STEPS = 400  # a small set is gone through more often, so that its classifier has learnt what it can
_BATCH = 128  # of the training
_MOST = 2**31  # bytes of images of a stream that are held


@dataclass(frozen=True)
class Held:
    """Labelled samples of a stream, in memory."""

    x: Tensor
    y: Tensor

    @property
    def spec(self) -> Spec:
        return Spec(tuple(self.x.shape[1:]), classes=int(self.y.max()) + 1, count=len(self.x))

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, index: Tensor, device: torch.device | None = None) -> Batch:
        return Batch(self.x[index].to(device), self.y[index].to(device), (), index)


def labelled(source: Source, side: str) -> Rows:
    """A source as rows with labels. InputError where it has none, or is a stream of more than 2 GiB."""
    source = source.source if isinstance(source, Kept) else source
    if isinstance(source, Rows) and source.spec.classes:
        return source
    x, y, size = [], [], 0
    for rows in batches_of(source):
        if rows.y is None:
            raise InputError(
                f"the {side} have no labels, and an accuracy score trains and tests on them; give a labelled set, or "
                "take a metric without labels (fd, kd)"
            )
        x.append(rows.x)
        y.append(rows.y)
        size += rows.x.numel() * rows.x.element_size()
        if size > _MOST:
            raise InputError(f"more than {_MOST >> 30} GiB of {side} from a stream; take fewer, or a data set")
    return Held(torch.cat(x).cpu(), torch.cat(y).cpu())


def lot(rows: Rows, *, seed: int, side: str) -> Tensor:
    """The numbers of the rows in an order of chance, int64 [len(rows)]."""
    return torch.argsort(uniform((), len(rows), key=(seed, "accuracy score", side)), stable=True)


def verdicts(judge: Classifier, rows: Rows, *, batch: int) -> tuple[Tensor, Tensor]:
    """(right or wrong, label) of each row; InputError where a label is missing."""
    hits, labels = [], []
    for index in torch.split(torch.arange(len(rows)), batch):
        some = rows.rows(index, judge.device)
        if some.y is None or bool((some.y < 0).any()):
            raise InputError("some of the reals that are tested on have no label; an accuracy needs all of them")
        hits.append((judge.logits(some.x).argmax(1) == some.y).cpu())
        labels.append(some.y.cpu())
    return torch.cat(hits), torch.cat(labels)


def enough(n: int) -> int:
    """Epochs for n samples: 8, more where these are under 400 steps."""
    return max(8, math.ceil(_STEPS / max(1, n // _BATCH)))


def _sets(real: Source, fake: Source, held_out: Source | None, seed: int) -> tuple[Picked, Picked, Picked]:
    """(fakes, reals) of equal number to train on, and the reals to test on."""
    made, have = labelled(fake, "fakes"), labelled(real, "reals")
    classes = have.spec.classes
    if made.spec.classes > classes or made.spec.shape != have.spec.shape:
        raise InputError(
            f"the fakes are {list(made.spec.shape)} in {made.spec.classes} classes, the reals {list(have.spec.shape)} "
            f"in {classes}; both must have one shape, and the fakes only classes of the reals"
        )
    order = lot(have, seed=seed, side="real")
    if held_out is None:
        test, order = Picked(have, order[: len(have) // 5], classes), order[len(have) // 5 :]
    else:
        other = labelled(held_out, "held-out reals")
        test = Picked(other, torch.arange(len(other)), classes)
    if len(test) == 0 or test.spec.shape != have.spec.shape:
        raise InputError(
            f"{len(test)} held-out reals of {list(test.spec.shape)}: give at least one, of {list(have.spec.shape)}"
        )
    n = min(len(made), len(order))
    return Picked(made, lot(made, seed=seed, side="fake")[:n], classes), Picked(have, order[:n], classes), test


@registry.metric
@about(interval="own", floor=False, accuracy_score="higher", gap="lower")
def accuracy_score(
    real: Source,
    fake: Source,
    *,
    held_out: Tensor | Kept | None = None,  # reals to test on; None: a fifth of the reals, which nothing learns from
    epochs: Annotated[int, Field(ge=1)] | None = None,  # None: 8, more where these are under 400 steps
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time while testing; changes memory, not the result
    seed: int = 0,  # of the choice of rows and the training
) -> dict[str, Any]:
    """Accuracy on held-out reals of a classifier trained on labelled fakes alone (Ravuri and Vinyals 2019, "CAS").

    A LeNet instead of their ResNet-50: compare with `ceiling`, the same trained on as many reals; `gap` is ceiling -
    score. `by_class` shows which classes the fakes do not teach. Intervals are over the tested reals: those of another
    training differ by more where few samples are trained on.
    """
    fakes, reals, test = _sets(real, fake, held_out, seed)
    n = len(fakes)
    epochs = enough(n) if epochs is None else epochs
    ours = train_classifier(fakes, epochs=epochs, seed=seed, batch=_BATCH)
    theirs = sum_up(
        real,
        ("accuracy score", n, epochs, seed, held_out is None),
        lambda _: train_classifier(reals, epochs=epochs, seed=seed, batch=_BATCH),
    )
    (hits, labels), (best, _) = (verdicts(judge, test, batch=batch) for judge in (ours, theirs))
    lost = best.double() - hits.double()
    score, ceiling, gap = (float(v.double().mean()) for v in (hits, best, lost))
    counts = torch.bincount(labels, minlength=reals.spec.classes)
    right = torch.bincount(labels, weights=hits.double(), minlength=reals.spec.classes)
    return {
        "accuracy_score": score,
        "ceiling": ceiling,
        "gap": gap,
        "names": {"accuracy_score": "CAS-LeNet", "gap": "CAS-LeNet, gap to reals"},
        "by_class": [float(r / c) if c else None for r, c in zip(right, counts, strict=True)],
        "trained_on": n,
        "tested_on": len(test),
        "epochs": epochs,
        "real_count": len(reals),
        "fake_count": n,
        "intervals": {
            "accuracy_score": list(of_share(int(hits.sum()), len(test))),
            "ceiling": list(of_share(int(best.sum()), len(test))),
            "gap": list(of_mean(gap, float(lost.std()) if len(test) > 1 else 1.0, len(test))),
        },
        "warning": _doubts(n, len(test), reals.spec.classes, held_out is None),
    }


def _doubts(trained: int, tested: int, classes: int, split: bool) -> str:
    doubts = ["no held-out reals were given: a fifth of the reals is tested on"] if split else []
    if trained < 20 * classes:
        doubts.append(f"{trained} samples teach {classes} classes little; take at least {20 * classes}")
    if tested < 100:
        doubts.append(f"{tested} tested samples are few; take at least 100")
    return "; ".join(doubts)
