"""One training with the doctor at its bedside, written down so that it can be judged again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from doctor_sets import Feed, Table
from doctor_truth import Health, Judge
from gantlet.core.engine import Engine
from gantlet.core.errors import NonFiniteError
from gantlet.core.recipe import Recipe
from gantlet.core.state import State
from gantlet.core.train import Watch, train
from gantlet.core.when import every
from gantlet.doctor.doctor import Doctor
from gantlet.doctor.finding import About
from gantlet.doctor.rows import Rows
from gantlet.runs.build import Decided, build, new_game
from gantlet.runs.doctoring import about_run

CHECK = 50  # steps between looks for what is not finite, as a session logs
TRUTH = 100  # steps between looks at the samples
PROBED = 256  # rows for probes


@dataclass
class Bedside:
    """A built training that a fault may still change."""

    recipe: Recipe
    state: State
    engine: Engine
    feed: Feed
    train: Table  # the rows as they are fed
    held: Table
    unit: float = 1.0  # what the data was multiplied by: samples are judged in the set's own units
    spoil: list[Watch] = field(default_factory=list)  # what happens on the way

    @classmethod
    def of(cls, recipe: Recipe, train: Table, held: Table, change: Callable[[Any], None] | None = None) -> Bedside:
        """As a run builds it; `change`: what is done to the game before anybody plays it."""
        feed, steps = Feed(train, recipe["seed"]), recipe["steps"]
        game = new_game(recipe, feed.spec, steps=steps)
        if change is not None:
            change(game)
        decided = Decided("cpu", recipe["precision"], False)
        state, engine = build(recipe, feed.spec, decided, steps=steps, game=game)
        return cls(recipe, state, engine, feed, train, held)


def attended(bed: Bedside, judge: Judge) -> dict[str, Any]:
    """Play it to the end, or to what is not finite: windows, the facts a detector may know, and how well it went."""
    windows: list[dict[str, Any]] = []
    trace: list[dict[str, Any]] = []
    about = about_run(bed.state, bed.recipe, bed.feed)  # type: ignore[arg-type]  # which is asked for its spec alone
    doctor = Doctor(about, rows=rows_of(bed), write=windows.append)

    def look(state: State, reports: Any) -> None:
        trace.append({"step": state.now.step, **asdict(health(bed, judge))})

    watch = [*doctor.watches(), *bed.spoil, (every(CHECK), lambda state, reports: state.check_finite())]
    began, stopped = time.monotonic(), None
    try:
        train(bed.state, bed.engine, bed.feed, bed.recipe["steps"], [*watch, (every(TRUTH), look)])
        bed.state.check_finite()
    except NonFiniteError as error:
        stopped = str(error).partition(". ")[0]
        doctor.stopped(bed.state)
    return {
        "about": {k: list(v) if isinstance(v, tuple) else v for k, v in vars(doctor.about).items()},
        "windows": windows, "trace": trace, "stopped": stopped, "steps": bed.recipe["steps"],
        "ended": bed.state.now.step, "seconds": round(time.monotonic() - began, 2),
    }  # fmt: skip


def rows_of(bed: Bedside) -> Rows:
    """Rows that probes may show the critic, as many as a run's."""
    (x, y), (held, held_y) = (table.where(torch.arange(min(PROBED, len(table.x)))) for table in (bed.train, bed.held))
    return Rows(x, held, y, held_y)


def health(bed: Bedside, judge: Judge) -> Health:
    """Of the weights as they are and of what would be saved, the worse."""
    found = [judge(game, bed.unit) for game in (bed.state.game, bed.state.best_game())]
    return min(found, key=lambda h: (h.healthy, h.score))


def about_again(kept: dict[str, Any]) -> About:
    """The facts as they were written down."""
    return About(**{k: tuple(v) if k == "shape" else v for k, v in kept["about"].items()})
