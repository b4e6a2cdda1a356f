"""`gantlet bench combinations [--cell loss/hinge,trick] [--minutes M]`: every two parts that may meet, trained together.

Losses, dynamics, optimisers, penalties and tricks, two at a time, with small perceptrons on a ring of Gaussians, on the
8 x 8 digits where a part is for images. A cell is one part with all that come after it; cells are kept in the cache.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from cells import Cells, Clock, Say
from common import machine, machine_text
from gantlet.core.errors import InputError, NonFiniteError, nearest
from gantlet.core.state import State
from gantlet.core.train import train
from gantlet.metrics.curve import sliced_w2
from parts import DIGITS, PARTS, RING, STEPS, Part, Points, Row, base, meets

SAMPLES = 512
SAID = {"adversarial": "loss"}  # what users call a kind
# what --quick takes: a refused pair, one for images, two of a kind, a second-order dynamics
QUICK: list[Part] = [
    ("adversarial", "relativistic"), ("dynamics", "consensus"), ("penalty", "r1"), ("penalty", "r2"),
    ("trick", "ada"), ("trick", "label-flipping"),
]  # fmt: skip

# ---- how it is measured -------------------------------------------------------------------------------------------


class Cell(NamedTuple):
    """One part with all that come after it."""

    first: Part
    others: list[Part]
    steps: int

    @property
    def label(self) -> str:
        return said(self.first)

    @property
    def facts(self) -> dict[str, Any]:
        pairs = {said(other): Row((self.first, other)).changes() for other in self.others}
        facts = {"first": self.label, "pairs": pairs, "base": base().tree, "data": [RING.source, DIGITS.source]}
        return {**facts, "steps": self.steps, "samples": SAMPLES}


def said(part: Part) -> str:
    return f"{SAID.get(part[0], part[0])}/{part[1]}"


def plan(parts: Sequence[Part], steps: int) -> Iterator[Cell]:
    for i, first in enumerate(parts):
        others = [other for other in parts[i + 1 :] if meets(first, other)]
        if others:
            yield Cell(first, others, steps)


def chosen(cells: Sequence[Cell], wanted: Sequence[str] | None) -> list[Cell]:
    """KIND/NAME, or a KIND for all of its cells; every cell where nothing is asked for."""
    if wanted is None:
        return list(cells)
    known = {c.label for c in cells} | {_kind(c.label) for c in cells}
    for word in wanted:
        if word not in known:
            raise InputError(f"--cell {word}: no cell of that name; {nearest(word, known)}")
    return [c for c in cells if c.label in wanted or _kind(c.label) in wanted]


def measure(
    *,
    data: str | None = None,
    quick: bool = False,
    say: Say = print,
    cell: Sequence[str] | None = None,
    minutes: float | None = None,
) -> dict[str, Any]:
    """The table as one JSON-able record: every cell that is done, also those that were not asked for now."""
    if data is not None:
        raise InputError("bench combinations has its own data; leave --data out")
    kept, clock = Cells("combinations"), Clock(minutes)
    cells = list(plan(QUICK, 5) if quick else plan(PARTS, STEPS))
    for one in chosen(cells, cell):
        if kept.find(one.facts) is None and not clock.over:
            began = time.monotonic()
            pairs = [_met(one.first, other, one.steps) for other in one.others]
            kept.keep(one.facts, {"label": one.label, "machine": machine_text(machine()), "pairs": pairs})
            say(f"{one.label}: {_counts(pairs)}, {time.monotonic() - began:.0f} s")
    done = [found for one in cells if (found := kept.find(one.facts)) is not None]
    return {"machine": machine(), "cells": done, "of": len(cells), "steps": cells[0].steps}


def _met(a: Part, b: Part, steps: int) -> dict[str, Any]:
    """Two parts trained together."""
    pair = {"a": said(a), "b": said(b)}
    try:
        state, engine, data = Row((a, b)).begun()
        begun = distance(state, data)
        train(state, engine, data, steps)
        state.check_finite()
    except InputError as error:
        return {**pair, "refused": str(error)}
    except NonFiniteError as error:
        return {**pair, "failed": str(error).partition(". ")[0]}
    ended = distance(state, data)
    if not all(bool(torch.isfinite(t).all()) for t in state.game.state_dict().values() if t.is_floating_point()):
        return {**pair, "failed": "what a part keeps became NaN or infinite"}
    return {**pair, "data": data.source, "begun": begun, "ended": ended}


@torch.no_grad()
def distance(state: State, data: Points) -> float:
    """Sliced W2 of samples to as many rows of the data."""
    game = state.best_game()
    game.eval()
    fake = game.generate(game.latent(SAMPLES, seed=0)).flatten(1)
    game.train()
    return sliced_w2(data.take(0, SAMPLES, torch.device("cpu")).x.flatten(1), fake)


def nearer(pair: dict[str, Any]) -> bool:
    return bool(pair["ended"] < pair["begun"])


def _counts(pairs: Sequence[dict[str, Any]]) -> str:
    trained = [p for p in pairs if "ended" in p]
    refusals, failures = (sum(key in p for p in pairs) for key in ("refused", "failed"))
    return (
        f"{len(pairs)} pairs, {len(trained)} train, {sum(map(nearer, trained))} of them nearer, "
        f"{refusals} refused, {failures} not finite"
    )


# ---- how it is shown ----------------------------------------------------------------------------------------------


def text(table: dict[str, Any]) -> str:
    """The record as the page's markdown."""
    pairs = [pair for cell in table["cells"] for pair in cell["pairs"]]
    classes: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for pair in pairs:
        classes[f"{_kind(pair['a'])} × {_kind(pair['b'])}"].append(pair)
    lines = [
        f"Machine: {machine_text(table['machine'])}. {len(table['cells'])} of {table['of']} cells, "
        f"{table['steps']} steps of {base()['batch']} a pair.",
        "",
        "| two parts | pairs | train | refused | not finite | nearer to the data than untrained |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_line(name, some) for name, some in classes.items()]
    lines.append(_line("**all**", pairs))
    for title, found in (("Refused", _refusals(pairs)), ("Not finite", _failures(pairs)), ("Not nearer", _far(pairs))):
        lines += ["", f"{title}:", ""] if found else []
        lines += [f"- {line}" for line in found]
    return "\n".join(lines)


def _kind(label: str) -> str:
    return label.partition("/")[0]


def _line(name: str, pairs: Sequence[dict[str, Any]]) -> str:
    trained = [p for p in pairs if "ended" in p]
    share = f"{sum(map(nearer, trained))} ({sum(map(nearer, trained)) / len(trained):.1%})" if trained else ""
    refusals, failures = (sum(key in p for p in pairs) for key in ("refused", "failed"))
    return f"| {name} | {len(pairs)} | {len(trained)} | {refusals} | {failures} | {share} |"


def _refusals(pairs: Sequence[dict[str, Any]]) -> list[str]:
    """Each distinct reason with the pairs it is for."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for p in pairs:
        if "refused" in p:
            groups[p["b"], p["refused"]].append(p["a"])
    return [f"{b} with {', '.join(partners)}: {why}" for (b, why), partners in groups.items()]


def _failures(pairs: Sequence[dict[str, Any]]) -> list[str]:
    return [f"{p['a']} with {p['b']}: {p['failed']}" for p in pairs if "failed" in p]


def _far(pairs: Sequence[dict[str, Any]]) -> list[str]:
    """Pairs that were not nearer, each under the part that has the most of them."""
    far = [p for p in pairs if "ended" in p and not nearer(p)]
    counts = Counter(label for p in far for label in (p["a"], p["b"]))
    under: dict[str, list[str]] = defaultdict(list)
    for p in far:
        most, other = sorted((p["a"], p["b"]), key=lambda label: (-counts[label], label))
        under[most].append(f"{other} ({p['begun']:.3g} → {p['ended']:.3g})")
    return [f"{label} with {', '.join(others)}" for label, others in sorted(under.items())]
