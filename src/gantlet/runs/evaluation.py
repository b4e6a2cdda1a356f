"""What `gantlet evaluate` does: find what is judged and what it is judged against, choose features and metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Game, Spec
from gantlet.core.machine import pick_device
from gantlet.core.registry import Tree
from gantlet.data import Dataset
from gantlet.metrics import inception, mobilenet
from gantlet.metrics.classify import Classifier
from gantlet.metrics.evaluation import Metrics, checked, evaluate
from gantlet.metrics.features import Features, build, find_weights
from gantlet.metrics.fetch import at_hand
from gantlet.metrics.judge import can_judge, judge_of
from gantlet.metrics.page import nearest, write_page
from gantlet.metrics.report import EvaluationReport
from gantlet.metrics.sources import Kept, Picked
from gantlet.metrics.stored import Stored
from gantlet.runs.folder import RunFolder
from gantlet.runs.model import Model
from gantlet.runs.subject import Judged, opened

SAMPLES = (
    10_000  # a set of fakes at most, where nobody says how many: as many as there are reals, many scores want that
)
FEWEST = 500
MOST = 50_000  # of a set of samples that was given
SEEDS = 4  # sets of a generator: Student's t with 3 degrees of freedom
REFERENCE = (
    10_000  # rows of the reference at most, spread evenly over it: of as many reals as fakes coverage is 1 - 2^-k
)
LARGE = 5_000  # of both, where the network sees large images
PIXELS = 64

ABLE = {"purity": "codes_of", "error-rate": "classify"}  # metrics of what some models can do besides generating

OPTIONS = ("seed", "intervals", "classifier")  # of metrics.evaluate
HOW = ("size", "channels", "fit", "bad_files")  # of open_source

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What was asked for; None where the data decides."""

    features: str | Tree | Features | None = None
    metrics: Metrics | None = None
    n: int | None = None  # samples in a set
    seeds: int | None = None  # sets
    reference: int | None = None  # rows of the reference at most
    weights: str = "averaged"
    truncation: float | None = None  # of a generator's samples
    device: str | None = None
    batch: int = 256
    how: Mapping[str, Any] = field(default_factory=dict)  # how images are opened: bad_files, size, channels, fit
    options: Mapping[str, Any] = field(default_factory=dict)  # of metrics.evaluate: seed, intervals, classifier


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
        for name, number in {"n": wanted.n, "seeds": wanted.seeds, "reference": wanted.reference}.items():
            if number is not None and number < (1 if name == "seeds" else 2):
                raise InputError(f"{name}={number}; it must be at least {1 if name == 'seeds' else 2}")
        asked = [] if wanted.metrics is None else checked(wanted.metrics)  # before anything is read
        self.device = pick_device(wanted.device or "cpu")
        self.judged: Judged = opened(
            fake, real, weights=wanted.weights, device=wanted.device, say=say, paired=any(a.about.paired for a in asked),
            **wanted.how,
        )  # fmt: skip
        if wanted.truncation is not None:
            if self.judged.model is None:
                raise InputError(f"truncation={wanted.truncation}: a set of samples has no latents; leave it out")
            self.judged.model = self.judged.model.truncated(wanted.truncation)
        train = self.judged.real
        self.held = _held_out(train)
        self.judge, self.features = self._features()
        large = self.features.size is not None and max(self.features.size) > PIXELS
        usual = LARGE if large else REFERENCE
        self.real = _named(train, wanted.reference or usual)
        self.count = wanted.n or max(FEWEST, min(usual, len(train)))
        self.told = False  # do fakes say their class, in the numbers of the reals?
        self.sets = self._sets()
        self.report = self._report()

    # ---- the two sides --------------------------------------------------------------------------------------------

    def _sets(self) -> list[Kept]:
        n, model = self.count, self.judged.model
        if model is None:
            assert self.judged.fake is not None
            if self.wanted.seeds not in (None, 1):
                raise InputError(f"seeds={self.wanted.seeds}: only a generator can draw several sets")
            return [
                Kept(_relabelled(spread(self.judged.fake, self.wanted.n or MOST), self.judged.fake, self.judged.real))
            ]
        seeds = self.wanted.seeds or SEEDS
        self.say(f"drawing {seeds} x {n:,} samples")
        to = _numbers_in(model, self.judged.real, self.say)
        self.told = to is not None
        return [
            Kept(Stored(map(partial(_renumbered, to=to), model.batches(n, seed=seed)), n, self.judged.real.spec))
            for seed in range(seeds)
        ]

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
            if self.judged.folder is not None and self.judged.own:
                judge.save(self.judged.folder / "judge")
            name = judge.features
        elif asked is None and can_judge(train) and max(train.spec.shape[1:]) <= PIXELS:
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
        game = None if model is None else model.game
        metrics = self.wanted.metrics
        if metrics is None:
            metrics = chosen(spec, self.judge is not None, game, self.told)
        return evaluate(
            self.real, self.sets[0], more=self.sets[1:], features=self.features, metrics=metrics,
            held_out=None if self.held is None else _named(self.held, self.count),
            every_held=None if self.held is None else _in_numbers_of(model, self.held),
            classifier=self.judge, model=None if model is None else model.game, batch=self.wanted.batch,
            device=self.device, facts=self._facts(), subject=self.judged.subject, **self.wanted.options,
        )  # fmt: skip

    def _facts(self) -> dict[str, Any]:
        real, held, fake = self.judged.real, self.held, self.judged.fake
        truncation = None if self.judged.model is None else getattr(self.judged.model.game, "truncation", None)
        drawn: dict[str, Any] = {
            "weights": self.judged.weights, "seeds": list(range(len(self.sets))), "truncation": truncation,
            "stored": "8 bits" if len(real.spec.shape) == 3 else "float32",
        }  # fmt: skip
        return {
            "real": _said(real) | {"fit": self.judged.fit},
            "held_out": {} if held is None else _said(held),
            "fake": drawn
            if self.judged.model is not None
            else {}
            if fake is None
            else {"shape": list(fake.spec.shape)},
        }


class _Relabelled:
    """Rows whose labels are another set's numbers of the same class names; `alien`: why the label -2 has none."""

    def __init__(self, rows: Picked | Dataset, to: Tensor, classes: int, *, alien: str = "") -> None:
        self.picked, self.to, self.alien = rows, to, alien
        self.spec = rows.spec._replace(classes=classes)

    def __len__(self) -> int:
        return len(self.picked)

    def rows(self, index: Tensor, device: torch.device | None = None) -> Batch:
        """The rows, with -1 where there is no label; InputError for a class that has no number."""
        batch = self.picked.rows(index, device)
        if batch.y is None:
            return batch
        if self.alien and bool((self.to.to(batch.y.device)[batch.y.clamp(min=0)] == -2)[batch.y >= 0].any()):
            raise InputError(self.alien)
        return batch._replace(y=torch.where(batch.y < 0, -1, self.to.to(batch.y.device)[batch.y.clamp(min=0)]))


def _relabelled(rows: Picked, fake: Dataset, real: Dataset) -> Picked | _Relabelled:
    """Classes mean their names, not their numbers; InputError for one that the reals do not have."""
    mine, theirs = fake.class_names, real.class_names
    if not mine or not theirs or mine == theirs:
        return rows
    alien = [name for name in mine if name not in theirs]
    if alien:
        raise InputError(f"{fake.name} has a class {alien[0]!r} that {real.name} has not; it has {', '.join(theirs)}")
    return _Relabelled(rows, torch.tensor([theirs.index(name) for name in mine]), real.spec.classes)


def _numbers_in(model: Model, real: Dataset, say: Say) -> Tensor | None:
    """The reals' number of each class that a model knows, int64 [K]; None where it knows none, or one they have not."""
    if not model.game.labelled:
        return None  # kinds that it found by itself, or none
    mine, theirs = model.class_names, real.class_names
    if not (model.config.get("class_names") and theirs) and len(mine) == real.spec.classes > 0:
        return torch.arange(len(mine))  # classes without names are their numbers
    alien = [name for name in mine if name not in theirs]
    if alien:
        say(f"the model's class {alien[0]!r} is none of {real.name}: its samples are compared without their classes")
    return torch.tensor([theirs.index(name) for name in mine]) if mine and not alien else None


def _in_numbers_of(model: Model | None, held: Dataset) -> Dataset | _Relabelled:
    """All rows; where the model is asked for their classes, these in its own numbers, by name."""
    mine = [] if model is None else [str(name) for name in model.config.get("class_names") or []]
    theirs = held.class_names
    if model is None or not callable(getattr(model.game, "classify", None)):
        return held
    if not mine or not theirs or tuple(mine) == tuple(theirs):
        return held
    alien = [name for name in theirs if name not in mine]
    why = (
        f"{held.name} has a class {alien[0]!r} that the model never learned; it knows {', '.join(mine)}"
        if alien
        else ""
    )
    to = torch.tensor([mine.index(name) if name in mine else -2 for name in theirs])
    return _Relabelled(held, to, len(mine), alien=why)


def _renumbered(batch: Batch, to: Tensor | None) -> Batch:
    return batch._replace(y=None if to is None or batch.y is None else to[batch.y])


def _named(dataset: Dataset, most: int) -> Kept:
    picked = spread(dataset, most)
    return Kept(picked, name=f"{dataset.fingerprint} {dataset.split} {list(dataset.spec.shape)} {len(picked)}")


def _said(dataset: Dataset) -> dict[str, Any]:
    return {"split": dataset.split, "shape": list(dataset.spec.shape)}


def _held_out(dataset: Dataset) -> Dataset | None:
    if dataset.split != "train":  # of all, or of the test split itself, nothing is held out
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


def chosen(spec: Spec, judged: bool, game: Game | None = None, told: bool = False) -> list[str]:
    """What is measured where nothing is asked for; `told`: the fakes say which of the judge's classes they are of."""
    if len(spec.shape) != 3:
        return ["fd", "sliced-w2", "precision-recall", "density-coverage", "memorisation"]
    classes = [*(["classes"] if judged else []), *(["as-asked"] if judged and told else [])]
    labelled = spec.classes > 0
    own = [name for name, can in ABLE.items() if labelled and callable(getattr(game, can, None))]
    return ["fd", "kd", "precision-recall", "density-coverage", *classes, *own, "memorisation", "spectrum"]
