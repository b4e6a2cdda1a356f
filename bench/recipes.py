"""`gantlet bench recipes`: every recipe on the digits, an equal number of real images each."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import finished, machine, machine_text
from gantlet import api
from gantlet.core import registry
from gantlet.data import open_source
from gantlet.runs.score import thumbnail_score

IMAGES = 64_000
SAMPLES = 1_024

Say = Callable[[str], None]


def measure(*, data: str | None = None, quick: bool = False, say: Say = print) -> dict[str, Any]:
    """The table as one JSON-able record."""
    images = IMAGES // 20 if quick else IMAGES
    names = [name for name in registry.recipe.parts if name != "auto"]  # which is one of the others
    cells = [_cell(name, images, data or "digits", say) for name in names]
    return {"machine": machine(), "images": images, "data": data or "digits", "cells": cells}


def _cell(name: str, images: int, source: str, say: Say) -> dict[str, Any]:
    recipe = api.recipe(name)
    steps = images // (recipe["batch"] * recipe["game"].get("d_steps", 1))
    with tempfile.TemporaryDirectory() as out:
        untrained = api.train(recipe.override("steps=1"), data=source, out=Path(out) / "one", device="cpu").score
        began = time.perf_counter()
        run = api.train(recipe.override(f"steps={steps}", "sample_every=0", "save_every=0"), data=source,
                        out=Path(out) / "run", device="cpu")  # fmt: skip
        seconds = time.perf_counter() - began
        finished(run)
        score = thumbnail_score(api.load(run.path).game, open_source(source), n=SAMPLES)
    assert untrained is not None
    cell = {"recipe": name, "steps": steps, "score": score.value, "floor": score.floor, "untrained": untrained.value,
            "seconds": seconds}  # fmt: skip
    say(f"{cell}")
    return cell


def text(table: dict[str, Any]) -> str:
    """The record as the page's markdown."""
    lines = [
        f"Machine: {machine_text(table['machine'])}. {table['data']}, {table['images']:,} real images each, one seed.",
        "",
        "| recipe | steps | distance | after one step |",
        "|---|---|---|---|",
    ]
    for c in sorted(table["cells"], key=lambda c: c["score"]):
        lines.append(f"| `{c['recipe']}` | {c['steps']:,} | {c['score']:.3g} | {c['untrained']:.3g} |")
    lines.append(f"| held-out reals | | {table['cells'][0]['floor']:.3g} | |")
    return "\n".join(lines)
