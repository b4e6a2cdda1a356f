"""`gantlet bench zoo --data FOLDER [--cell mnist/dcgan,eurosat] [--minutes M] [--out docs/zoo.md]`: every recipe on real
images, an equal time each, judged by one network.

FOLDER holds the sets: mnist/, eurosat_rgb/, cifar10_jpeg/, each a source or one archive. A cell is SET/RECIPE; a recipe
alone is measured on the set that fits it, with the changes that make it small enough for the time (both are in ENTRIES).
Cells that are done are kept in the cache; one that was stopped goes on from its last state. On a processor the time is that
of one core and is counted in what this process used of it, so two of these commands may run side by side, --cell each.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

import zoo_page
from cells import Cells, Clock, given
from common import machine, source_in
from gantlet import api
from gantlet.core import registry
from gantlet.core.errors import GantletError, InputError, nearest
from gantlet.core.machine import pick_device
from gantlet.core.recipe import Recipe
from gantlet.data import Dataset, open_source
from gantlet.metrics.overlap import content_of
from gantlet.metrics.report import EvaluationReport
from gantlet.runs.build import decide, seconds_per_step
from gantlet.runs.samples import draw
from zoo_entries import ENTRIES, Entry

MINUTES, GPU_MINUTES = 3.0, 8.0  # of training a cell
SAMPLES, FEW = 2_560, 512  # twice the dimensions of the network, which a Frechet distance needs; enough for a kernel's
REFERENCE = 2_560
FEATURES = "mobilenetv2"
PICTURED = 30
MARGIN = 0.5  # a recipe works when its distance is under this share of an untrained generator's and of the mean image's

Say = Callable[[str], None]


class Set(NamedTuple):
    """Where the images are, below FOLDER, and the size they are brought to."""

    folder: str
    size: int | None = None


SETS = {
    "mnist": Set("mnist"),
    "eurosat16": Set("eurosat_rgb", 16),
    "eurosat": Set("eurosat_rgb", 32),
    "eurosat64": Set("eurosat_rgb"),
    "cifar": Set("cifar10_jpeg"),
}


class Cell(NamedTuple):
    """One recipe on one set."""

    set: str
    name: str
    entry: Entry

    @property
    def label(self) -> str:
        return f"{self.set}/{self.name}"

    def recipe(self, source: str) -> Recipe:
        made = api.recipe(self.name).override(*self.entry.changes)
        size = SETS[self.set].size
        return made.override("sample_every=0", "save_every=0", data=source, **({} if size is None else {"size": size}))


def text(table: dict[str, Any]) -> str:
    """The record as the page's markdown."""
    return zoo_page.text(table)


def write(table: dict[str, Any], out: Path) -> list[Path]:
    """The page with its pictures, and the scores that `gantlet list` shows."""
    return zoo_page.write(table, out)


def measure(
    *, data: str | None = None, quick: bool = False, say: Say = print, cell: Sequence[str] | None = None,
    minutes: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The table as one JSON-able record: the cells asked for are measured, all that were kept are shown."""
    if data is None:
        folders = dict.fromkeys(s.folder for s in SETS.values())
        raise InputError(f"bench zoo needs the images: --data FOLDER with {', '.join(folders)}")
    wanted = chosen(cell)
    device = pick_device(None)
    budget = (GPU_MINUTES if device.type == "cuda" else MINUTES) / (20 if quick else 1)
    if device.type == "cpu":
        torch.set_num_threads(1)
    kept, clock = Cells("zoo"), Clock(minutes)
    for one in wanted:
        if clock.over:
            say(f"{one.label}: left out, the time is over")
            continue
        _measured(one, kept, data, budget, device, say, clock)
    known = {c["label"]: c for c in kept.all() if _current(c, data, budget, device)}
    shown = [known[label] for label in _order(known)]
    return {"machine": machine(device.type), "minutes": budget, "samples": SAMPLES, "margin": MARGIN, "cells": shown}


def chosen(words: Sequence[str] | None) -> list[Cell]:
    """SET/RECIPE, a set (all recipes that are measured on it) or a recipe each; everything where nothing is asked for."""
    found: dict[str, Cell] = {}
    for word in words or ENTRIES:
        data, slash, name = word.partition("/")
        names = [name] if slash else [n for n, e in ENTRIES.items() if word in (n, e.set)]
        if word in SETS and not names:
            raise InputError(
                f"--cell {word}: no recipe is measured there by itself; name some: {word}/dcgan,{word}/r3gan"
            )
        if not names or any(n not in ENTRIES for n in names) or (slash and data not in SETS):
            raise InputError(f"--cell {word}: no such cell; {nearest(word, [*SETS, *ENTRIES])}")
        cells = [Cell(data if slash else ENTRIES[n].set, n, ENTRIES[n]) for n in names]
        found |= {c.label: c for c in cells}
    return list(found.values())


def _order(known: dict[str, Any]) -> list[str]:
    """By set, the best first."""
    sets = list(SETS)
    return sorted(known, key=lambda k: (sets.index(known[k]["set"]), known[k].get("kd", float("inf"))))


# ---- a cell -------------------------------------------------------------------------------------------------------


@cache
def _opened(source: str, size: int | None) -> Dataset:
    return open_source(source, size=size, say=lambda text: None)


@cache
def _content(source: str, size: int | None) -> str:
    return content_of(_opened(source, size))


def _facts(cell: Cell, data: str, budget: float, device: torch.device) -> dict[str, Any]:
    """What a cell is measured from."""
    source = source_in(data, SETS[cell.set].folder)
    tree = {k: v for k, v in cell.recipe(source).tree.items() if k not in ("data", "steps")}
    known = _content(source, SETS[cell.set].size)
    how = {"budget": budget, "samples": SAMPLES, "few": FEW, "reference": REFERENCE, "features": FEATURES}
    return {"label": cell.label, "recipe": tree, "data": known, "device": device.type, **how}


def _current(found: dict[str, Any], data: str, budget: float, device: torch.device) -> bool:
    """Was this cell measured from what its label means now?"""
    name, _, recipe = str(found.get("label", "")).partition("/")
    if name not in SETS or recipe not in ENTRIES or not (Path(data) / SETS[name].folder).exists():
        return False
    facts = _facts(Cell(name, recipe, ENTRIES[recipe]), data, budget, device)
    return all(given(found.get(key)) == given(value) for key, value in facts.items())


def _measured(cell: Cell, kept: Cells, data: str, budget: float, device: torch.device, say: Say, clock: Clock) -> None:
    facts, source = _facts(cell, data, budget, device), source_in(data, SETS[cell.set].folder)
    if kept.find(facts) is not None:
        return
    recipe, folder = cell.recipe(source), kept.place(facts).with_suffix("")
    dataset = _opened(source, SETS[cell.set].size)
    try:
        run = _trained(recipe, dataset, folder, budget, device, say, cell.label, clock)
    except InputError:
        raise
    except GantletError as error:  # it diverged: that is what the table says, and the others go on
        why = str(error).splitlines()[0]
        kept.keep(facts, {**facts, "set": cell.set, "name": cell.name, "failed": why})
        shutil.rmtree(folder, ignore_errors=True)
        say(f"{cell.label}: failed: {why}")
        return
    if run is None:
        say(f"{cell.label}: stopped; the same command goes on from there")
        return
    picture = kept.place(facts).with_suffix(".png")
    scores = _scores(cell, recipe, source, folder / "run", picture, kept, say)
    record = {**facts, "set": cell.set, "name": cell.name, "changes": list(cell.entry.changes), **run, **scores}
    kept.keep(facts, {**record, "picture": str(picture)})
    shutil.rmtree(folder, ignore_errors=True)
    say(f"{cell.label}: KD {scores['kd']:.3g} (untrained {scores['untrained']:.3g}), FD {scores['fd']:.3g}")


def _trained(
    recipe: Recipe, dataset: Dataset, folder: Path, budget: float, device: torch.device, say: Say, label: str, clock: Clock
) -> dict[str, Any] | None:  # fmt: skip
    """Train for the budget, in steps found by timing some first; None: the time was over before."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = folder / "plan.json"
    if plan.is_file():
        told = json.loads(plan.read_text())
    else:
        grown = recipe.override("tricks.growing=null") if "growing" in recipe["game"].get("tricks", {}) else recipe
        pace = seconds_per_step(grown, dataset, decide(grown, device), clock=_clock(device))  # the longest of its steps
        told = {"steps": max(20, int(60 * budget / pace)), "seconds": 0.0}
        plan.write_text(json.dumps(told))
    say(f"{label}: {told['steps']:,} steps")
    out = folder / "run"
    again = (out / "run.yaml").is_file()
    left = None if clock.end is None else max(0.05, (clock.end - time.monotonic()) / 60)
    began = _clock(device)()
    run = api.train(out if again else recipe.override(steps=told["steps"]), out=None if again else out, resume=again,
                    device=None if again else str(device), minutes=left)  # fmt: skip
    told["seconds"] += _clock(device)() - began
    plan.write_text(json.dumps(told))
    if run.reason != "done":
        return None
    game = api.load(run.path).game
    images = told["steps"] * recipe["batch"]
    return {"steps": told["steps"], "images": images, "seconds": told["seconds"], "weights": _weights(recipe, dataset),
            "images_per_s": images / told["seconds"], "shape": list(dataset.spec.shape),
            "generates": sum(p.numel() for m in game.made_of().values() for p in m.parameters())}  # fmt: skip


def _clock(device: torch.device) -> Callable[[], float]:
    """Seconds of this process's own work on a processor, of the world's beside a GPU."""
    return time.process_time if device.type == "cpu" else time.perf_counter


def _weights(recipe: Recipe, dataset: Dataset) -> dict[str, int]:
    """How many weights each player moves."""
    with torch.random.fork_rng(devices=[]):
        game = registry.bind("game", recipe["game"], total=1)(dataset.spec)
    return {player: sum({id(p): p.numel() for m in mods for p in m.parameters()}.values())
            for player, mods in game.owns().items()}  # fmt: skip


def _scores(cell: Cell, recipe: Recipe, source: str, run: Path, picture: Path, kept: Cells, say: Say) -> dict[str, Any]:
    """FD and KD in MobileNetV2's features, precision and recall; and what an untrained generator and the mean score."""
    how = {"features": FEATURES, "seeds": 1, "reference": REFERENCE, "say": say}
    report = api.evaluate(run, metrics=["fd", "kd", "precision-recall"], n=SAMPLES, **how)
    draw(api.load(run).game, picture, n=PICTURED, seed=0)
    shutil.rmtree(run.parent / "first", ignore_errors=True)
    first = api.train(recipe.override("steps=1"), out=run.parent / "first", device="cpu")
    untrained = api.evaluate(first.path, metrics=["kd"], n=FEW, **how)
    dataset = _opened(source, SETS[cell.set].size)
    mean = {
        "mean image of": _content(source, SETS[cell.set].size),
        "samples": FEW,
        "reference": REFERENCE,
        "features": FEATURES,
    }
    plain = kept.find(mean)
    if plain is None:
        rows = torch.linspace(0, len(dataset) - 1, REFERENCE).long()
        average = torch.stack([dataset.rows(part).x.mean(0) for part in rows.split(500)]).mean(0)
        made = api.evaluate(dataset, average.expand(FEW, *average.shape).clone(), metrics=["kd"], **how)
        plain = kept.keep(mean, {"label": "", "kd": number(made, "kd")})
    worst = min(number(untrained, "kd"), plain["kd"])
    scores = {k: number(report, k) for k in ("fd", "kd", "precision", "recall")}
    return {**scores, "untrained": number(untrained, "kd"), "mean image": plain["kd"], "floor": floor(report, "kd"),
            "works": scores["kd"] < MARGIN * worst}  # fmt: skip


def number(report: EvaluationReport, key: str) -> float:
    """One score of a report."""
    return float(report.score(key).value)


def floor(report: EvaluationReport, key: str) -> float | None:
    """What held-out reals score in the fakes' place."""
    return report.score(key).floor
