"""The zoo as a page with pictures, and what `gantlet list` says of each recipe's score."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import gantlet
from common import machine_text
from gantlet.core.recipe import about_of

HEAD = """# The zoo

Every recipe on real images, an equal time of training each, judged by one network. KD and FD are distances in the features
of a MobileNetV2 trained on ImageNet (KD x 1000, unbiased; FD of {samples:,} samples); lower is better, and a real held-out
set scores the floor. **times better**: KD of the untrained generator (after one step) or of the mean image, whichever is
lower, over that of the trained one; a recipe works where that is at least {least:g}. Minutes on a processor are few: the
table says that a recipe learns and how quickly, not what it reaches in days on GPUs. EuroSAT, land seen from above, is
brought to 16 x 16: at 32 x 32 none of those tried came below half of the mean image's KD in the time.

Machine: {machine}. {minutes:g} minutes of training a cell, on a processor of one core's time.
Made by `gantlet bench zoo --data FOLDER --out docs/zoo.md`.
"""
COLUMNS = "| recipe | KD | times better | FD | precision | recall | weights (generates) | steps | images/s | samples |"


def text(table: dict[str, Any]) -> str:
    """The record as markdown, a table for each set."""
    return _page(table, pictures=None)


def write(table: dict[str, Any], out: Path) -> list[Path]:
    """The page, its pictures in images/zoo/ beside it, and the scores that `gantlet list` shows."""
    folder = out.parent / "images" / "zoo"
    folder.mkdir(parents=True, exist_ok=True)
    for cell in table["cells"]:
        if "picture" in cell:
            shutil.copyfile(cell["picture"], folder / _picture(cell))
    out.write_text(_page(table, pictures="images/zoo"), encoding="utf-8")
    scores = Path(gantlet.__file__).parent / "recipes" / "measured.json"
    scores.write_text(json.dumps(measured(table), indent=1) + "\n", encoding="utf-8")
    return [out, scores]


def measured(table: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Name -> what `gantlet list` says; the best set where there are several."""
    found: dict[str, dict[str, Any]] = {}
    for c in table["cells"]:
        if "failed" in c or (c["name"] in found and found[c["name"]]["times"] >= _times(c)):
            continue
        found[c["name"]] = {
            "set": c["set"], "kd": _round(c["kd"]), "fd": _round(c["fd"]), "times": _round(_times(c)), "works": c["works"],
            "minutes": table["minutes"], "weights": c["generates"], "changes": c["changes"],
        }  # fmt: skip
    return dict(sorted(found.items()))


def _page(table: dict[str, Any], *, pictures: str | None) -> str:
    facts = {"samples": table["samples"], "least": 1 / table["margin"], "minutes": table["minutes"]}
    lines = [HEAD.format(machine=machine_text(table["machine"]), **facts)]
    for name in dict.fromkeys(c["set"] for c in table["cells"]):
        cells = [c for c in table["cells"] if c["set"] == name]
        good = [c for c in cells if "failed" not in c]
        lines += [f"\n## {name}\n"]
        if good:
            floor = good[0]["floor"]
            lines += [
                f"{_shape(good[0])}. Floor KD {_thousandths(floor)}, mean image {_thousandths(good[0]['mean image'])}.\n"
            ]
        lines += [COLUMNS, "|---|---|---|---|---|---|---|---|---|---|", *(_row(c, pictures) for c in cells)]
    changed = [
        f"- `{c['label']}`: {', '.join(f'`{x}`' for x in c['changes'])}" for c in table["cells"] if c.get("changes")
    ]
    if changed:
        lines += ["\n## What was changed to fit the time\n", *changed]
    return "\n".join(lines) + "\n"


def _row(c: dict[str, Any], pictures: str | None) -> str:
    about = about_of(c["name"])
    name = f"`{c['name']}`" + (f" ({about.year})" if about is not None else "")
    if "failed" in c:
        return f"| {name} | failed: {c['failed']} | | | | | | | | |"
    times = f"{_times(c):.3g}" + ("" if c["works"] else " (does not work)")
    picture = f'<img src="{pictures}/{_picture(c)}" width="180" alt="samples of {c["name"]}">' if pictures else ""
    numbers = [_thousandths(c["kd"]), times, f"{c['fd']:.1f}", f"{c['precision']:.2f}", f"{c['recall']:.2f}"]
    weights = f"{sum(c['weights'].values()) / 1e6:.2f} M ({c['generates'] / 1e6:.2f} M)"
    pace = [f"{c['steps']:,}", f"{c['images_per_s']:.0f}"]
    return f"| {' | '.join([name, *numbers, weights, *pace, picture])} |"


def _times(c: dict[str, Any]) -> float:
    return float(min(c["untrained"], c["mean image"]) / max(c["kd"], 1e-9))


def _thousandths(value: float | None) -> str:
    return "" if value is None else f"{1e3 * value:.3g}"


def _shape(c: dict[str, Any]) -> str:
    return " x ".join(str(s) for s in c["shape"])


def _picture(c: dict[str, Any]) -> str:
    return f"{c['label'].replace('/', '-')}.png"


def _round(value: float) -> float:
    return float(f"{value:.4g}")
