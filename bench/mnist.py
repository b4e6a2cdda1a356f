"""`gantlet bench mnist --data PATH`: 768,000 real images, three seeds, 10,000 samples of the averaged generator, judged
by a small classifier trained here. Seeds that are done are kept in the cache, so it can be stopped and gone on with.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import gantlet
from common import finished, machine, machine_text
from gantlet import api
from gantlet.core.errors import InputError, nearest
from gantlet.data import Dataset, cache_folder, open_source
from gantlet.metrics import Classifier, Drawn, evaluate, train_classifier
from gantlet.metrics.overlap import content_of
from gantlet.runs.model import Model

IMAGES = 768_000
SAMPLES = 10_000
SEEDS = (0, 1, 2)
LEAST_ACCURACY = 0.994
AIM = {"fd over floor": 4.0, "kl": 0.004, "smallest share": 0.08, "confident": 0.92}

# what is trained: see docs/benchmarks.md for what was tried
RECIPES = ("small", "small-labelled")  # without labels, and told them

Say = Callable[[str], None]


def measure(
    *, data: str | None = None, quick: bool = False, say: Say = print, cell: Sequence[str] | None = None
) -> dict[str, Any]:
    """The table as one JSON-able record; `cell`: which of RECIPES."""
    recipes = list(cell or RECIPES)
    if alien := [name for name in recipes if name not in RECIPES]:
        raise InputError(f"--cell {alien[0]}: no such cell; {nearest(alien[0], RECIPES)}")
    if data is None:
        raise InputError("bench mnist needs the data: --data PATH of a MNIST source (idx files)")
    train, test = open_source(data, say=say), open_source(f"{data}#test", say=say)
    judge = _judge(train, test, say)
    if judge.accuracy < LEAST_ACCURACY:
        raise InputError(
            f"the judge is right on {judge.accuracy:.2%} of the test set; at least {LEAST_ACCURACY:.1%} is wanted"
        )
    images = IMAGES // 12 if quick else IMAGES
    seeds = SEEDS[:1] if quick else SEEDS
    return {
        "machine": machine(),
        "judge": {"hash": judge.hash, "accuracy": judge.accuracy},
        "images": images,
        "cells": {name: [_cell(name, s, images, data, train, test, judge, say) for s in seeds] for name in recipes},
        "aim": AIM,
    }


def _folder() -> Path:
    folder = cache_folder() / "bench" / "mnist"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _judge(train: Dataset, test: Dataset, say: Say) -> Classifier:
    """The classifier, from the cache or trained here (its training is not counted)."""
    place = _folder() / f"judge-{content_of(train)[:16]}"
    if (place / "classifier.json").is_file():
        return Classifier.load(place)
    say("training the judge")
    judge = train_classifier(train, test=test, log=say)
    judge.save(place)
    return Classifier.load(place)


def _cell(
    recipe: str, seed: int, images: int, data: str, train: Dataset, test: Dataset, judge: Classifier, say: Say
) -> dict[str, Any]:
    """One seed, trained and judged, or what is known of it."""
    batch = api.recipe(recipe)["batch"]
    wanted = api.recipe(recipe, seed=seed, steps=images // batch, sample_every=0, save_every=0)
    facts = json.dumps([gantlet.__version__, wanted.tree, judge.hash, content_of(train)], sort_keys=True)
    place = _folder() / f"{hashlib.sha256(facts.encode()).hexdigest()[:20]}.json"
    if place.is_file():
        return dict(json.loads(place.read_text()))
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        run = api.train(wanted, data=data, out=Path(out) / "run", device="cpu", show=_Told(seed, say))
        seconds = time.perf_counter() - began
        finished(run)
        model = api.load(run.path)
    cell = {"seed": seed, "train seconds": seconds, **_scores(model, train, test, judge)}
    place.write_text(json.dumps(cell))
    say(f"{recipe}, seed {seed}: {cell}")
    return cell


def _scores(model: Model, train: Dataset, test: Dataset, judge: Classifier) -> dict[str, Any]:
    def draw(first: int, n: int) -> torch.Tensor:
        return model.sample(n, seed=1, first=first)

    found = evaluate(train, Drawn(SAMPLES, draw), features=judge.features, metrics=("fd", "classes"), held_out=test,
                     classifier=judge, intervals=False)  # fmt: skip
    fd, floor, classes = found["fd"]["fd"], found["fd"]["floor"]["fd"], found["classes"]
    return {
        "fd": fd,
        "floor": floor,
        "fd over floor": fd / floor,
        "kl": classes["kl"],
        "smallest share": classes["smallest_share"],
        "confident": classes["confident"],
        "real confident": classes["floor"]["confident"],
        "features": found["fd"]["name"],
        "G": sum(p.numel() for p in model.game.G.parameters()),
        "D": sum(p.numel() for p in model.game.arena.critics.parameters()),
    }


class _Told:
    """Progress, a line a minute."""

    def __init__(self, seed: int, say: Say) -> None:
        self.seed, self.say_, self.last = seed, say, 0.0

    def say(self, text: str) -> None:
        self.say_(text)

    warn = say

    def row(self, row: dict[str, Any], steps: int) -> None:
        if time.monotonic() - self.last > 60:
            self.last = time.monotonic()
            self.say_(f"seed {self.seed}: step {row['step']}/{steps}, {row['images_per_s']:.0f} images/s")


def text(table: dict[str, Any]) -> str:
    """The record as the page's markdown."""
    judge, first = table["judge"], next(iter(table["cells"].values()))[0]
    lines = [
        f"Machine: {machine_text(table['machine'])}. {table['images']:,} real images a seed; {SAMPLES:,} samples; "
        f"G {first['G'] / 1e6:.2f} M, D {first['D'] / 1e6:.2f} M weights. Judge: LeNet {judge['hash'][:16]}, "
        f"{judge['accuracy']:.2%} of the test set. Floor ({first['features']} of the test set to the training set): "
        f"{first['floor']:.4f}; real digits above 0.9: {first['real confident']:.3f}.",
        "",
        "| recipe | seed | FD / floor | class KL | smallest share | above 0.9 | training |",
        "|---|---|---|---|---|---|---|",
    ]
    names = ("fd over floor", "kl", "smallest share", "confident", "train seconds")
    for recipe, cells in table["cells"].items():
        lines += [_row(f"`{recipe}` | {c['seed']}", c, f"{c['train seconds']:.0f} s") for c in cells]
        median = {name: statistics.median(c[name] for c in cells) for name in names}
        lines.append(_row(f"`{recipe}` | **median**", median, f"{median['train seconds']:.0f} s"))
    return "\n".join([*lines, _row("aim |", table["aim"], "")])


def _row(name: str, c: dict[str, Any], time: str) -> str:
    scores = [f"{c['fd over floor']:.2f}", f"{c['kl']:.4f}", f"{c['smallest share']:.1%}", f"{c['confident']:.3f}"]
    return f"| {' | '.join([name, *scores, time])} |"
