"""How much longer a step takes when the doctor watches, for steps of different length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gantlet.recipes  # noqa: F401 (importing registers)
from autopilot_play import code
from cells import Cells, Clock, Say
from common import in_turn, machine, machine_text, ratios
from doctor_play import Bedside, rows_of
from doctor_sets import Table, base, tables
from gantlet.core.recipe import Recipe, recipe
from gantlet.core.train import train
from gantlet.doctor import Doctor
from gantlet.runs.doctoring import about_run

PERIOD = 300  # steps from one round of probes to the next: what is timed is all that a long training has
ROWS = 2_000


def overhead(cells: Cells, clock: Clock, *, quick: bool, data: str, say: Say = print) -> list[dict[str, Any]]:
    """Ratios of pairs in turn, with against without; only what is kept where the time is over."""
    found = []
    for name, made in trainings(data):
        # a time is of one machine and of one doctor
        facts = {"overhead": name, "quick": quick, "doctor": code(), "machine": machine_text(machine())}
        kept = cells.find(facts)
        if kept is None and not clock.over:
            kept = cells.keep(facts, {"name": name, **timed(made, steps=10 if quick else PERIOD)})
            say(f"overhead, {name}: {kept['median']:.3f}")
        found += [] if kept is None else [kept]
    return found


def trainings(data: str) -> Iterator[tuple[str, Callable[[], Bedside]]]:
    """From points and perceptrons to images and convolutions; those on MNIST where `data` holds it."""
    yield "perceptrons, points", lambda: _bed(base("ring"), *tables("ring", ""))
    yield "perceptrons, 8 x 8", lambda: _bed(base("digits"), *tables("digits", ""))
    if data:
        for name in ("small", "dcgan"):
            yield (
                f"`{name}`, MNIST",
                lambda name=name: _bed(recipe(name).override("precision=float32"), *tables("mnist", data)),
            )


def _bed(made: Recipe, train: Table, held: Table) -> Bedside:
    return Bedside.of(made.override("seed=0"), *(table.where(slice(ROWS)) for table in (train, held)))


def timed(made: Callable[[], Bedside], *, steps: int, repeats: int = 3) -> dict[str, float]:
    """With against without: median, min and max of pairs, and milliseconds a step without."""
    plain, watched = made(), made()
    doctor = Doctor(about_run(watched.state, watched.recipe, watched.feed), rows=rows_of(watched))  # type: ignore[arg-type]

    def play(bed: Bedside, watch: Any) -> None:
        train(bed.state, bed.engine, bed.feed, bed.state.now.step + steps, watch)

    sides = {"with": lambda: play(watched, doctor.watches()), "without": lambda: play(plain, ())}
    times = in_turn(sides, repeats=repeats, inner=1)
    return {**ratios(times["with"], times["without"]), "step_ms": 1000 * min(times["without"]) / steps}
