"""`gantlet bench features [--data SOURCE]`: images/s through the feature protocol beside the bare network's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import gantlet.metrics  # noqa: F401 (importing registers)
from common import in_turn, machine, machine_text, ratios, summary
from gantlet.core.errors import InputError
from gantlet.data import open_source
from gantlet.metrics.features import Features, build, features_of
from gantlet.metrics.sources import Picked

ROUNDS = 5
BATCH = 64

Say = Callable[[str], None]


def measure(*, data: str | None = None, quick: bool = False, say: Say = print) -> dict[str, Any]:
    """The table as one JSON-able record: the same images, read, recoloured, resized and seen, against seen alone."""
    dataset = open_source(data or "digits")
    rows = []
    for name in ("mobilenetv2", "squeezenet", "inception"):
        try:
            seen = build(name if name != "inception" else _random_inception(), lambda: dataset.spec)
        except InputError as error:
            say(f"{name}: left out ({error})")
            continue
        count = {"inception": 32}.get(name, 128) // (4 if quick else 1)
        rows.append(_row(name, seen, dataset, count, quick, say))
    return {"machine": machine(), "data": dataset.name, "shape": list(dataset.spec.shape), "rows": rows, "batch": BATCH}


def _random_inception() -> Features:
    """Its speed does not depend on its weights."""
    from gantlet.metrics.inception import InceptionV3, pooled

    return pooled(InceptionV3(), name="Inception, random", genuine=False)


def _row(name: str, seen: Features, dataset: Any, count: int, quick: bool, say: Say) -> dict[str, Any]:
    picked = [dataset.rows(index).x for index in torch.arange(count).split(BATCH)]
    ready = [seen.adapt(x) for x in picked]  # what the bare network is handed
    took = in_turn(
        {"whole": lambda: list(features_of(Picked(dataset, torch.arange(count)), seen, batch=BATCH)),
         "bare": lambda: [_bare(seen, x) for x in ready]},
        repeats=1 if quick else ROUNDS, inner=1,
    )  # fmt: skip
    images = {side: count / summary(times)["median"] for side, times in took.items()}
    row = {"name": name, "count": count, **images, "ratio": ratios(took["bare"], took["whole"])["median"]}
    say(f"{row}")
    return row


@torch.no_grad()
def _bare(seen: Features, x: Tensor) -> Tensor:
    y: Tensor = seen.net(x)
    return y


def text(table: dict[str, Any]) -> str:
    """The record as the page's markdown."""
    lines = [
        f"Machine: {machine_text(table['machine'])}. {table['data']}, {table['shape']}, batches of {table['batch']}.",
        "",
        "| network | images/s, read and resized | images/s, bare | ratio |",
        "|---|---|---|---|",
    ]
    for r in table["rows"]:
        lines.append(f"| {r['name']} | {r['whole']:.1f} | {r['bare']:.1f} | {r['ratio']:.2f} |")
    return "\n".join(lines)
