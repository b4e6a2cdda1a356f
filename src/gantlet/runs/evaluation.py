"""What `gantlet evaluate` does: find what is judged and what it is judged against, choose features and metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Spec
from gantlet.core.machine import pick_device
from gantlet.core.registry import Tree
from gantlet.data import Dataset
from gantlet.metrics import inception, mobilenet
from gantlet.metrics.classify import Classifier
from gantlet.metrics.evaluation import Metrics, evaluate
from gantlet.metrics.features import Features, build, find_weights
from gantlet.metrics.fetch import at_hand
from gantlet.metrics.judge import can_judge, judge_of
from gantlet.metrics.page import nearest, write_page
from gantlet.metrics.report import EvaluationReport
from gantlet.metrics.sources import Kept
from gantlet.metrics.stored import Stored
from gantlet.runs.folder import RunFolder
from gantlet.runs.subject import Judged, opened

SAMPLES = 5_000  # a set of fakes at most, where nobody says how many: as many as there are reals, many scores want that
FEWEST = 500
SEEDS = 4  # sets of a generator: Student's t with 3 degrees of freedom
REFERENCE = 50_000  # rows of the reference at most, spread evenly over it

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What was asked for; None where the data decides."""

    features: str | Tree | Features | None = None
    metrics: Metrics | None = None
    n: int | None = None  # samples in a set
    seeds: int | None = None  # sets
    reference: int = REFERENCE
    weights: str = "averaged"
    device: str | None = None
    batch: int = 256
    options: Mapping[str, Any] = field(default_factory=dict)


class Picked:
    """Rows of a data set, by number."""

    def __init__(self, dataset: Dataset, index: Tensor) -> None:
        self.dataset, self.index = dataset, index
        self.spec = dataset.spec._replace(count=len(index))

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, index: Tensor, device: torch.device | None = None) -> Batch:
        """Rows of the choice."""
        return self.dataset.rows(self.index[index], device)


def spread(dataset: Dataset, most: int) -> Picked:
    """At most so many rows, evenly over the set."""
    count = len(dataset)
    return Picked(dataset, torch.linspace(0, count - 1, min(most, count), dtype=torch.float64).round().long())


def measured(real: Any, fake: Any, wanted: Wanted, say: Say) -> EvaluationReport:
    """The report; see `gantlet.api.evaluate`."""
    return Evaluation(real, fake, wanted, say).report


class Evaluation:
    """One evaluation: `report`, and the sets it was made of for a page of neighbours."""

    def __init__(self, real: Any, fake: Any, wanted: Wanted, say: Say) -> None:
        self.wanted, self.say = wanted, say
        self.judged: Judged = opened(fake, real, weights=wanted.weights, device=wanted.device, say=say)
        train = self.judged.real
        self.held = _held_out(train)
        self.real = _named(train, wanted.reference)
        self.count = wanted.n or max(FEWEST, min(SAMPLES, len(train)))
        self.device = pick_device(wanted.device or "cpu")
        self.judge, self.features = self._features()
        self.sets = self._sets()
        self.report = self._report()

    # ---- the two sides --------------------------------------------------------------------------------------------

    def _sets(self) -> list[Kept]:
        n, model = self.count, self.judged.model
        if model is None:
            assert self.judged.fake is not None
            if self.wanted.seeds not in (None, 1):
                raise InputError(f"seeds={self.wanted.seeds}: only a generator can draw several sets")
            return [Kept(spread(self.judged.fake, self.wanted.n or REFERENCE))]
        seeds = self.wanted.seeds or SEEDS
        self.say(f"drawing {seeds} x {n:,} samples")
        return [Kept(Stored(model.batches(n, seed=seed), n, model.spec)) for seed in range(seeds)]

    def _features(self) -> tuple[Classifier | None, Features]:
        asked, train = self.wanted.features, self.judged.real
        name = asked if asked is not None else self._best(train)
        judge = None
        if name == "self":
            if not can_judge(train):
                raise InputError(
                    f"features=self needs labelled images of 8 to 256 pixels, {train.name} has "
                    f"{train.spec.classes} classes and shape {list(train.spec.shape)}; take another network"
                )
            held = _held_out(train)
            judge = judge_of(train, held, self.say)
            if self.judged.folder is not None:
                judge.save(self.judged.folder / "judge")
            name = judge.features
        elif asked is None and can_judge(train):
            judge = judge_of(train, _held_out(train), self.say)
        seen = build(name, lambda: train.spec).to(self.device)
        if judge is not None:
            judge.features.to(self.device)
        return judge, seen

    def _best(self, train: Dataset) -> str:
        """The most telling network there is: ImageNet's for photos, the data's own classes for small labelled images."""
        spec = train.spec
        if len(spec.shape) != 3:
            return "raw"
        small = max(spec.shape[1:]) <= 32
        if small and can_judge(train):
            return "self"
        if spec.shape[0] in (1, 3) and at_hand(inception.KNOWN):
            return "inception"
        if spec.shape[0] in (1, 3) and _there(mobilenet.FILE):
            return "mobilenetv2"
        if can_judge(train):
            return "self"
        self.say("no pretrained network is at hand (GANTLET_WEIGHTS): distances are of 8 x 8 thumbnails")
        return "thumbnail"

    def write(self, out: Path | None) -> Path | None:
        """The page and report.json, in `out` or in the run's evaluation/; None where there is nowhere to put them."""
        report, folder = self.report, self.judged.folder
        if out is None and folder is None:
            return None
        name = f"step-{report.subject.get('step') or 0:08d}-{report.fingerprint}"
        place = out if out is not None else RunFolder(str(folder)).evaluation / name
        return write_page(report, place, nearest(self.real, self.sets[0], self.features, batch=self.wanted.batch))

    # ---- the scores -----------------------------------------------------------------------------------------------

    def _report(self) -> EvaluationReport:
        spec, model = self.judged.real.spec, self.judged.model
        metrics = self.wanted.metrics if self.wanted.metrics is not None else chosen(spec, self.judge is not None)
        return evaluate(
            self.real, self.sets[0], more=self.sets[1:], features=self.features, metrics=metrics,
            held_out=None if self.held is None else _named(self.held, self.count),
            classifier=self.judge, model=None if model is None else model.game, batch=self.wanted.batch,
            device=self.device, facts=self._facts(), subject=self.judged.subject, **self.wanted.options,
        )  # fmt: skip

    def _facts(self) -> dict[str, Any]:
        real, held, fake = self.judged.real, self.held, self.judged.fake
        drawn: dict[str, Any] = {"weights": self.judged.weights, "seeds": list(range(len(self.sets))),
                                 "truncation": None, "stored": "8 bits"}  # fmt: skip
        return {
            "real": _said(real) | {"fit": self.judged.fit},
            "held_out": {} if held is None else _said(held),
            "fake": drawn
            if self.judged.model is not None
            else {}
            if fake is None
            else {"shape": list(fake.spec.shape)},
        }


def _named(dataset: Dataset, most: int) -> Kept:
    picked = spread(dataset, most)
    return Kept(picked, name=f"{dataset.fingerprint} {dataset.split} {list(dataset.spec.shape)} {len(picked)}")


def _said(dataset: Dataset) -> dict[str, Any]:
    return {"source": dataset.name, "split": dataset.split, "fingerprint": dataset.fingerprint,
            "shape": list(dataset.spec.shape)}  # fmt: skip


def _held_out(dataset: Dataset) -> Dataset | None:
    if dataset.split == "test":
        return None
    try:
        held = dataset.with_split("test")
    except InputError:  # a set of two images holds nothing out
        return None
    return held if len(held) > 1 else None


def _there(file: str) -> bool:
    """Are these weights on this machine?"""
    try:
        find_weights(file)
    except InputError:
        return False
    return True


def chosen(spec: Spec, judged: bool) -> list[str]:
    """What is measured where nothing is asked for."""
    if len(spec.shape) != 3:
        return ["fd", "sliced-w2", "precision-recall", "density-coverage", "memorisation"]
    classes = ["classes"] if judged else []
    return ["fd", "kd", "precision-recall", "density-coverage", *classes, "memorisation", "spectrum"]
