"""Cells of a table: each is kept on disk under a fingerprint of what it was measured from, also when it is half done.

Cells in bench/kept/ come with the source, and every machine finds them: `python bench/cells.py doctor` writes those of this
machine's cache there.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

import gantlet
from gantlet.core.engine import Engine
from gantlet.core.errors import InputError, NonFiniteError, nearest
from gantlet.core.game import Data
from gantlet.core.recipe import Recipe
from gantlet.core.state import State
from gantlet.core.train import Stop, train
from gantlet.core.when import every
from gantlet.data import cache_folder

Say = Callable[[str], None]
LOOK = 50  # steps between looks at the clock
KEPT = Path(__file__).parent / "kept"  # JSON lines {key, cell} of each benchmark


class Plan(NamedTuple):
    """What a table is of."""

    sets: Sequence[str]
    methods: Sequence[str]
    recipe: Callable[[str, str], Recipe]  # (set, method)
    seeds: int
    samples: int
    facts: dict[str, Any] = {}

    def chosen(self, wanted: Sequence[str] | None) -> list[Cell]:
        """A set, a method or SET/METHOD each; every cell where nothing is asked for."""
        labels = []
        for word in wanted or self.sets:
            name, plus, changes = word.partition("+")
            if name in self.sets:
                labels += [f"{name}/{method}{plus}{changes}" for method in self.methods]
            elif name in self.methods:
                labels += [f"{data}/{word}" for data in self.sets]
            else:
                labels.append(word)
        return [Cell(label, self) for label in dict.fromkeys(labels)]

    def current(self, found: dict[str, Any]) -> bool:
        """Was this cell measured from what its label means now?"""
        try:
            return bool(given(found["facts"]) == given(Cell(found["label"], self).facts))
        except InputError:
            return False


class Cell:
    """SET/METHOD+path=value+...: what is played, on what, with which seeds: +seeds=3 is 0 to 2, +seeds=3-9 goes on."""

    def __init__(self, label: str, plan: Plan) -> None:
        name, *changes = label.split("+")
        self.set, _, self.method = name.partition("/")
        if self.set not in plan.sets:
            raise InputError(f"--cell {label}: no set named {self.set!r}; {nearest(self.set, plan.sets)}")
        if self.method not in plan.methods:
            raise InputError(f"--cell {label}: no method named {self.method!r}; {nearest(self.method, plan.methods)}")
        given = dict(change.partition("=")[::2] for change in changes)
        self.label, self.samples = label, plan.samples
        self.seeds = tuple(_seeds(label, given.pop("seeds", str(plan.seeds))))
        made = plan.recipe(self.set, self.method)
        self.recipe = made.override(**{path: _said(value) for path, value in given.items()})
        self.facts = {"set": self.set, "recipe": self.recipe.tree, "seeds": len(self.seeds), "samples": self.samples}
        self.facts |= {"first": self.seeds[0] or None, **plan.facts}


def _seeds(label: str, text: str) -> range:
    """3 -> 0, 1, 2; 3-9 -> 3 to 9; InputError for anything else."""
    first, dash, last = text.partition("-")
    found = range(int(first), int(last) + 1) if dash and first.isdigit() and last.isdigit() else range(0)
    found = range(int(first)) if not dash and first.isdigit() else found
    if not 1 <= len(found) <= 256:
        raise InputError(f"--cell {label}: seeds={text}; use a whole number from 1 to 256, or the first and last: 3-9")
    return found


def joined(cells: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cells that differ in nothing but their seeds, as one; those that repeat a seed of a larger one are left out."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    there: dict[tuple[str, int], set[int]] = {}
    for cell in sorted(cells, key=lambda c: (-c["facts"]["seeds"], c["label"])):
        label = "+".join(part for part in cell["label"].split("+") if not part.startswith("seeds="))
        first, count = cell["facts"].get("first") or 0, cell["facts"]["seeds"]
        mine, key = set(range(first, first + count)), (label, cell["steps"])
        if "failed" in cell:
            key = (cell["label"], cell["steps"])
        if mine & there.setdefault(key, set()):
            continue
        there[key] |= mine
        before = found.get(key)
        scores = [*(before or {}).get("seeds", []), *cell.get("seeds", [])]
        found[key] = {**cell, "label": label, "facts": {**cell["facts"], "seeds": len(there[key])}}
        if scores:
            found[key]["seeds"] = scores
    return list(found.values())


def given(facts: Any) -> Any:
    """Facts without what is null: an option that is new, and off, does not make strangers of the cells from before it."""
    if isinstance(facts, dict):
        return {key: given(value) for key, value in facts.items() if value is not None}
    return [given(value) for value in facts] if isinstance(facts, list | tuple) else facts


def _said(text: str) -> Any:
    """A value as YAML, which takes 1e-3 for text."""
    value = yaml.safe_load(text)
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


class Cells:
    """The cells of one benchmark: those in the cache, and those that the source comes with."""

    def __init__(self, bench: str) -> None:
        self.folder = cache_folder() / "bench" / bench
        self.folder.mkdir(parents=True, exist_ok=True)
        self.kept = KEPT / f"{bench}.jsonl.xz"

    def place(self, facts: Any) -> Path:
        """Where the cell that was measured from these JSON-able facts is kept."""
        text = json.dumps([gantlet.__version__, given(facts)], sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.json"

    def find(self, facts: Any) -> dict[str, Any] | None:
        place = self.place(facts)
        if place.is_file():
            return dict(json.loads(place.read_text()))
        return _kept(self.kept).get(place.stem)

    def keep(self, facts: Any, cell: dict[str, Any]) -> dict[str, Any]:
        """Keep a whole cell; its half is no longer wanted."""
        place = self.place(facts)
        place.write_text(json.dumps(cell))
        place.with_suffix(".pt").unlink(missing_ok=True)
        return cell

    def all(self) -> Iterator[dict[str, Any]]:
        """Every cell that was kept, whatever it was measured from."""
        yield from self._all().values()

    def _all(self) -> dict[str, dict[str, Any]]:
        here = {place.stem: dict(json.loads(place.read_text())) for place in sorted(self.folder.glob("*.json"))}
        return {**_kept(self.kept), **here}

    def publish(self, wanted: Callable[[dict[str, Any]], bool]) -> int:
        """Write the cells of the cache beside those that the source comes with; answers how many there are now."""
        found = {key: cell for key, cell in sorted(self._all().items()) if wanted(cell)}
        lines = (json.dumps({"key": key, "cell": cell}, separators=(",", ":")) for key, cell in found.items())
        self.kept.parent.mkdir(exist_ok=True)
        self.kept.write_bytes(lzma.compress("\n".join(lines).encode()))
        _kept.cache_clear()
        return len(found)


@cache
def _kept(place: Path) -> dict[str, dict[str, Any]]:
    if not place.is_file():
        return {}
    rows = (json.loads(line) for line in lzma.decompress(place.read_bytes()).decode().splitlines())
    return {row["key"]: row["cell"] for row in rows}


class Clock:
    """How long the whole table may take; None: as long as it does."""

    def __init__(self, minutes: float | None) -> None:
        self.end = None if minutes is None else time.monotonic() + 60 * minutes

    @property
    def over(self) -> bool:
        return self.end is not None and time.monotonic() > self.end


def played(
    state: State, engine: Engine, data: Data, cell: Cell, cells: Cells, *, clock: Clock, say: Say = print
) -> dict[str, Any] | None:
    """Play a cell to the end, from where a run that was stopped left off; None: the time is over, its half is kept.

    Answers the cell without its scores, with `failed` saying why where it could not go on.
    """
    half, steps = cells.place(cell.facts).with_suffix(".pt"), cell.recipe["steps"]
    spent = _resume(state, half)
    began = told = time.monotonic()
    first = state.now.step
    say(f"{cell.label}: {len(cell.seeds)} seeds, {steps:,} steps, from step {first:,}")

    def look(state: State, reports: Any) -> None:
        nonlocal told
        state.check_finite()
        if clock.over and state.now.step < steps:
            raise Stop("time")
        if time.monotonic() - told > 60:
            told = time.monotonic()
            pace = 1000 * (told - began) / (state.now.step - first)
            say(f"{cell.label}: step {state.now.step:,} of {steps:,}, {pace:.0f} ms a step")

    made = {"label": cell.label, "set": cell.set, "method": cell.method, "facts": cell.facts, "steps": steps}
    try:
        train(state, engine, data, steps, [(every(LOOK), look)])
        state.check_finite()
    except NonFiniteError as error:
        made["failed"] = str(error).partition(". ")[0]
    except Stop:
        torch.save({"spent": spent + time.monotonic() - began, "state": state.state_dict()}, half)
        say(f"{cell.label}: stopped at step {state.now.step:,}; the same command goes on from there")
        return None
    return {**made, "seconds": spent + time.monotonic() - began}


def _resume(state: State, half: Path) -> float:
    if not half.is_file():
        return 0.0
    kept = torch.load(half, weights_only=True, map_location=next(state.game.parameters()).device)
    state.load_state_dict(kept["state"])
    return float(kept["spent"])


def mean_text(values: Sequence[float]) -> str:
    """Mean and standard error."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.3g}"
    return f"{mean:.3g} ± {statistics.stdev(values) / len(values) ** 0.5:.2g}"


def _whole(cell: dict[str, Any]) -> bool:
    """Is all that was measured in the cell itself, and true elsewhere? Pictures are files, times are of one machine."""
    return not {"picture", "grid", "step_ms"} & set(cell)


if __name__ == "__main__":
    for bench in sys.argv[1:]:
        print(f"{bench}: {Cells(bench).publish(_whole):,} cells in {KEPT / bench}.jsonl.xz")
