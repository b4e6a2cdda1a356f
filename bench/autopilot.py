"""`gantlet bench autopilot [--cell c00-c19/on,off] [--minutes M]`: does letting the doctor turn knobs help, or harm?

60 trainings drawn from a fixed prior before anybody looked (autopilot_prior.py), three seeds each, the same on every arm:
as drawn (off), with the autopilot (on), its networks with what is always safe (static), and with as many turns of some
knob in some direction as the autopilot made (placebo). Every arm has 8,000 gradients of either player's; what a rollback
plays again counts. Healthy: all modes, HQ 0.6, KL 0.1 at the end of the budget, of the weights and of their average.
Runs that are done are kept in the cache, those of a changed doctor are played anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import autopilot_tables
from autopilot_play import ARMS, facts_of, played, turns_of
from autopilot_prior import COUNT, Config, config
from cells import Cells, Clock
from common import machine
from gantlet.core.errors import InputError, nearest

BUDGET, SEEDS = 8_000, 3
QUICK_BUDGET = 120
text: Callable[[dict[str, Any]], str] = autopilot_tables.text


def measure(
    *,
    data: str | None = None,
    quick: bool = False,
    say: Callable[[str], None] = print,
    cell: Sequence[str] | None = None,
    minutes: float | None = None,
) -> dict[str, Any]:
    """The table as one JSON-able record: every run that was asked for and is done."""
    if data is not None:
        raise InputError("bench autopilot has its own data; leave --data out and name runs by --cell")
    budget, seeds = (QUICK_BUDGET, 1) if quick else (BUDGET, SEEDS)
    cells, clock = Cells("autopilot"), Clock(minutes)
    runs = []
    wanted = chosen(cell, ["c00", "c01"] if quick else [f"c{i:02d}" for i in range(COUNT)])
    for seed in range(seeds):  # one seed of everything first: a table that is stopped early is of all trainings
        for c, arms in wanted.items():
            runs += _seed(c, seed, arms, budget, cells, clock, say)
    return {"machine": machine(), "budget": budget, "runs": runs, "numbers": autopilot_tables.numbers(runs)}


def _seed(
    c: Config, seed: int, arms: Sequence[str], budget: int, cells: Cells, clock: Clock, say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """The arms of one training with one seed; what is not done when the time is over is left out."""
    done: dict[str, dict[str, Any]] = {}
    for arm in sorted({*arms, *(["on"] if "placebo" in arms else [])}, key=ARMS.index):
        turns = turns_of(done["on"]) if arm == "placebo" and "on" in done else []
        if arm == "placebo" and "on" not in done:
            continue
        facts = facts_of(c, seed, arm, budget, turns)
        found = cells.find(facts)
        if found is None and arm == "placebo" and not turns and "off" in done:
            found = cells.keep(facts, {**done["off"], "arm": arm})  # nothing was turned: it is the same run, bit by bit
        if found is None and not clock.over:
            found = cells.keep(facts, played(c, seed, arm, budget, turns))
            said = "healthy" if found["healthy"] else found["stopped"] or "not healthy"
            say(f"{c.name}/{arm} seed {seed}: {said[:100]}, {len(found['actions'])} actions, {found['seconds']:.0f} s")
        if found is not None:
            done[arm] = {**found, "config": c._asdict()}
    yield from (run for arm, run in done.items() if arm in arms)


def chosen(wanted: Sequence[str] | None, names: Sequence[str]) -> dict[Config, list[str]]:
    """Trainings and their arms: c07, c00-c19, on, c07/on; all arms of all trainings where nothing is asked for."""
    found: dict[str, list[str]] = {}
    for word in wanted or names:
        part, _, arm = word.partition("/") if word not in ARMS else ("", "", word)
        if arm and arm not in ARMS:
            raise InputError(f"--cell {word}: no arm named {arm!r}; {nearest(arm, ARMS)}")
        for name in _names(part) if part else names:
            found.setdefault(config(name).name, []).extend([arm] if arm else ARMS)
    return {config(name): list(dict.fromkeys(arms)) for name, arms in found.items()}


def _names(part: str) -> list[str]:
    span = re.fullmatch(r"([cd])(\d+)-\1(\d+)", part)
    if span is None:
        return [part]
    return [f"{span[1]}{i:02d}" for i in range(int(span[2]), int(span[3]) + 1)]
