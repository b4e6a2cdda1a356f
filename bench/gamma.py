"""`gantlet bench gamma --data FOLDER`: the weight of R1 and R2 under the relativistic pair, in steps of four.

FOLDER holds `mnist` and `eurosat_rgb`; digits come with the package. Cells that are done are kept in the cache.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gantlet
from common import finished, machine, machine_text, source_in
from gantlet import api
from gantlet.core.errors import InputError
from gantlet.data import cache_folder, open_source
from gantlet.runs.score import thumbnail_score

GAMMAS = (0.0625, 0.25, 1.0, 4.0)
# data set -> (steps, width, size): what a few minutes a cell allow on two cores
SETS = {"digits": (1_500, 32, None), "mnist": (600, 16, None), "eurosat_rgb": (400, 16, 32)}

Say = Callable[[str], None]


def measure(*, data: str | None = None, quick: bool = False, say: Say = print) -> dict[str, Any]:
    """The table as one JSON-able record."""
    if data is None or not Path(data).is_dir():
        raise InputError("bench gamma needs the data: --data FOLDER that holds mnist and eurosat_rgb")
    sets = {name: name if name == "digits" else source_in(data, name) for name in SETS}
    cells = [_cell(name, source, gamma, quick, say) for name, source in sets.items() for gamma in GAMMAS]
    return {"machine": machine(), "cells": cells}


def _cell(name: str, source: str, gamma: float, quick: bool, say: Say) -> dict[str, Any]:
    steps, width, size = SETS[name]
    changes = [f"penalties.r1.gamma={gamma}", f"penalties.r2.gamma={gamma}", f"G.width={width}", f"D.width={width}",
               f"steps={steps // 20 if quick else steps}", "sample_every=0", "save_every=0",
               *([f"size={size}"] if size else [])]  # fmt: skip
    wanted = api.recipe("r1gan", *changes)
    facts = json.dumps([gantlet.__version__, name, wanted.tree], sort_keys=True)
    place = cache_folder() / "bench" / "gamma" / f"{hashlib.sha256(facts.encode()).hexdigest()[:20]}.json"
    if place.is_file():
        return dict(json.loads(place.read_text()))
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        run = api.train(wanted, data=source, out=Path(out) / "run", device="cpu")
        seconds = time.perf_counter() - began
        finished(run)
        score = thumbnail_score(api.load(run.path).game, open_source(source, size=size), n=1024)
    cell = {"data": name, "gamma": gamma, "steps": run.step, "width": width, "score": score.value, "floor": score.floor,
            "seconds": seconds}  # fmt: skip
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(cell))
    say(f"{cell}")
    return cell


def text(table: dict[str, Any]) -> str:
    """The record as the page's markdown."""
    cells = table["cells"]
    names = list(dict.fromkeys(c["data"] for c in cells))
    lines = [
        f"Machine: {machine_text(table['machine'])}.",
        "",
        f"| gamma of R1 and of R2 | {' | '.join(names)} |",
        f"|---|{'---|' * len(names)}",
    ]
    for gamma in GAMMAS:
        here = {c["data"]: c for c in cells if c["gamma"] == gamma}
        lines.append(_row(f"{gamma:g}", [f"{here[n]['score']:.3g}" for n in names]))
    first = {c["data"]: c for c in cells}
    lines.append(_row("held-out reals", [f"{first[n]['floor']:.3g}" for n in names]))
    said = [f"{first[n]['steps']:,} steps, {first[n]['width']} filters" for n in names]
    lines.append(_row("trained", said))
    return "\n".join(lines)


def _row(name: str, values: list[str]) -> str:
    return f"| {name} | {' | '.join(values)} |"
