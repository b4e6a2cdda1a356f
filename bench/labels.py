"""`gantlet bench labels --data MNIST [--cell asked,purity/0,codes,few] [--minutes M]`: what networks know of classes.

asked: a conditional GAN, the share of its digits that a classifier puts into the class they were asked for. purity: an
InfoGAN of five seeds, the share of test digits whose code is their class after the best matching, when Q also learns what
slight changes leave; codes: the same without that, as published. few: a classifier from
100 labels and the other digits without theirs, its error on the test set. Cells that are done are kept in the cache; one
that was stopped goes on from its last state.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cells import Cells, Clock
from common import machine, machine_text
from gantlet import api
from gantlet.core.errors import InputError, nearest
from gantlet.core.recipe import Recipe

Say = Callable[[str], None]


class Kind(NamedTuple):
    """What is trained, how often, and by which score it is judged."""

    recipe: str
    changes: tuple[str, ...]
    metric: str
    key: str
    seeds: int
    aim: str
    options: dict[str, Any] = {}


HALF = ("G.width=32", "D.width=32", "D.dense=256", "batch=64", "players.D.lr=5e-4", "steps=2000")  # of the paper's size
KINDS = {
    "asked": Kind(
        "small-labelled", ("steps=6000",),
        "as-asked", "as_asked", 1, "at least .98", {"n": 10_000, "seeds": 1},
    ),
    "purity": Kind(
        "infogan", (*HALF, "invariance=2"),
        "purity", "purity", 5, "median at least .75, best at least .9", {"seeds": 1, "n": 1_000},
    ),
    "codes": Kind("infogan", HALF, "purity", "purity", 5, "beside it, as published", {"seeds": 1, "n": 1_000}),
    "few": Kind("small-semi", (), "error-rate", "error_rate", 1, "under .02", {"seeds": 1, "n": 1_000}),
}  # fmt: skip


def measure(
    *, data: str | None = None, quick: bool = False, say: Say = print, cell: Sequence[str] | None = None,
    minutes: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The table as one JSON-able record: the cells asked for are measured, all that were kept are shown."""
    if data is None:
        raise InputError("bench labels needs labelled images with a test set: --data PATH of a MNIST source")
    kept, clock = Cells("labels"), Clock(minutes)
    for kind, seed in chosen(cell):
        if not clock.over:
            _measured(kind, seed, _recipe(kind, seed, data, quick), kept, say, clock)
    shown = []
    for kind, seed in chosen(None):
        found = kept.find(_facts(kind, seed, _recipe(kind, seed, data, quick)))
        shown += [] if found is None else [found]
    return {"machine": machine(), "data": data, "cells": shown}


def chosen(words: Sequence[str] | None) -> list[tuple[str, int]]:
    """KIND (all its seeds) or KIND/SEED each; everything where nothing is asked for."""
    found = []
    for word in words or KINDS:
        kind, slash, seed = word.partition("/")
        if kind not in KINDS or (slash and (not seed.isdigit() or int(seed) >= KINDS[kind].seeds)):
            raise InputError(f"--cell {word}: no such cell; {nearest(kind, KINDS)}")
        found += [(kind, int(seed))] if slash else [(kind, s) for s in range(KINDS[kind].seeds)]
    return list(dict.fromkeys(found))


def _recipe(kind: str, seed: int, data: str, quick: bool) -> Recipe:
    made = api.recipe(KINDS[kind].recipe).override(*KINDS[kind].changes, seed=seed, data=data, sample_every=0)
    return made.override(steps=4, batch=40) if quick else made


def _facts(kind: str, seed: int, recipe: Recipe) -> dict[str, Any]:
    tree = {k: v for k, v in recipe.tree.items() if k != "data"}
    return {"kind": kind, "seed": seed, "recipe": tree, "options": KINDS[kind].options}


def _measured(kind: str, seed: int, recipe: Recipe, kept: Cells, say: Say, clock: Clock) -> None:
    facts, wanted = _facts(kind, seed, recipe), KINDS[kind]
    if kept.find(facts) is not None:
        return
    folder = kept.place(facts).with_suffix("")
    again = (folder / "run.yaml").is_file()
    left = None if clock.end is None else max(0.05, (clock.end - time.monotonic()) / 60)
    say(f"{kind}/{seed}: {recipe['steps']:,} steps{', going on' if again else ''}")
    run = api.train(folder if again else recipe, out=None if again else folder, resume=again, minutes=left)
    if run.reason != "done":
        say(f"{kind}/{seed}: stopped at step {run.step:,}; the same command goes on from there")
        return
    report = api.evaluate(run.path, metrics=[wanted.metric], say=say, **wanted.options)
    score = report.score(wanted.key)
    reach = None if score.interval is None else [score.interval.low, score.interval.high]
    grid = kept.place(facts).with_suffix(".png")
    if run.grid is not None:
        shutil.copyfile(run.grid, grid)
    kept.keep(facts, {**facts, "value": score.value, "interval": reach, "details": report[wanted.metric],
                      "changes": list(wanted.changes), "grid": str(grid), "steps": recipe["steps"]})  # fmt: skip
    shutil.rmtree(folder)
    say(f"{kind}/{seed}: {wanted.key} {score.value:.4g}")


def text(table: dict[str, Any]) -> str:
    """The record as the page's markdown."""
    lines = [f"Machine: {machine_text(table['machine'])}.", ""]
    lines += ["| what | recipe | steps | measured | aim |", "|---|---|---|---|---|"]
    for kind, about in KINDS.items():
        cells = [c for c in table["cells"] if c["kind"] == kind]
        if not cells:
            continue
        values = [c["value"] for c in cells]
        said = ", ".join(_one(c) for c in cells)
        if len(values) > 1:
            said += f" (median {statistics.median(values):.3g}, best {max(values):.3g})"
        name = " ".join([about.recipe, *about.changes])
        lines.append(f"| {about.metric} | `{name}` | {cells[0]['steps']:,} | {said} | {about.aim} |")
    return "\n".join(lines)


def _one(c: dict[str, Any]) -> str:
    low, high = c["interval"] or (None, None)
    return f"{c['value']:.4g}" + ("" if low is None else f" [{low:.4g}, {high:.4g}]")


def grids(table: dict[str, Any]) -> list[Path]:
    """Where the samples of the cells are."""
    return [Path(c["grid"]) for c in table["cells"]]
