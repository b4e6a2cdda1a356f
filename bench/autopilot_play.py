"""One training of the autopilot's benchmark, on one arm, to the end of its budget."""

from __future__ import annotations

import ast
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import gantlet.doctor
from autopilot_prior import SETS, Config, begun, recipe_of
from gantlet.core.engine import Engine
from gantlet.core.errors import NonFiniteError
from gantlet.core.game import Game
from gantlet.core.noise import uniform
from gantlet.core.recipe import Recipe
from gantlet.core.state import State
from gantlet.core.train import Stop, Watch, train
from gantlet.core.when import always, every
from gantlet.data import open_source
from gantlet.data.toys import parse_toy
from gantlet.doctor import Doctor
from gantlet.doctor.autopilot import Action, Autopilot, knobs
from gantlet.doctor.rows import Rows
from gantlet.metrics.curve import Curve
from gantlet.metrics.modes import modes
from gantlet.runs.build import Decided, build, new_game
from gantlet.runs.doctoring import about_run
from seeds import Pool, drawn

ARMS = ("off", "on", "static", "placebo")
CHECK = 50  # steps between looks for what is not finite, as a session logs
LOOKS = 8  # at the samples, evenly over the budget; the last at its end
PROBED = 256  # rows for probes
ROWS, FEW = 20_000, 2_500  # that are trained on; samples, as in the papers
HQ, KL, BINS = 0.6, 0.1, 20  # healthy: all modes and so much; of a curve, all of so many bins of its length


@cache
def points(name: str, split: str = "") -> Tensor:
    """Real points of a set, float32 [N, 2]."""
    data = open_source(SETS[name].source + split)
    return data.rows(torch.arange(min(ROWS, len(data)))).x


@cache
def curve_of(name: str) -> Curve:
    """The real points of a curve, placed once."""
    return Curve(points(name), bins=BINS)


def judged(name: str, game: Game) -> dict[str, Any]:
    """How well a generator does: all modes, HQ at least 0.6 and KL at most 0.1; of a curve all bins and that KL."""
    fake = torch.cat([some[0].cpu() for some in drawn(game, (0,), FEW, batch=FEW)])
    if not bool(torch.isfinite(fake).all()):
        return {"healthy": False, "score": 0.0, "high_quality": 0.0, "kl": 0.0}
    toy = parse_toy(SETS[name].source)
    if not len(toy.centres):
        got = curve_of(name).against(fake)
        good, share = 1 - got["off"], got["solid_bins"] / got["of"]
        fine = got["solid_bins"] == got["of"] and got["kl"] <= KL
    else:
        centres = [(float(x), float(y)) for x, y in toy.centres]
        got = modes(fake, fake, centres=centres, sigma=SETS[name].sigma)
        good, share = got["high_quality"], got["solid_modes"] / got["of"]
        fine = got["modes"] == got["of"] and good >= HQ and got["kl"] <= KL
    return {"healthy": bool(fine), "score": share * good, "high_quality": float(good), "kl": float(got["kl"])}


SAID = ("damping.py", "remedies.py", "words.py", "page.py")  # what a doctor tells people; the autopilot does not listen


@cache
def code() -> str:
    """Which doctor this is, as far as an autopilot may act otherwise under another."""
    folder = Path(gantlet.doctor.__file__).parent
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        if path.name not in SAID:
            found.update(_meant(path.read_text(encoding="utf-8")).encode())
    return found.hexdigest()[:16]


def _meant(source: str) -> str:
    """A module without its comments and docstrings, which nobody acts on."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.unparse(tree)


def facts_of(c: Config, seed: int, arm: str, budget: int, more: Any = None) -> dict[str, Any]:
    """All that a run follows from."""
    facts = {
        "tree": recipe_of(c, arm, budget).tree,
        "gain": c.gain,
        "seed": seed,
        "looks": LOOKS,
        "rule": [HQ, KL, BINS],
        "set": SETS[c.set].source,
    }
    return facts | ({"arm": arm, "doctor": code(), "more": more} if arm in ("on", "placebo") else {})


@dataclass
class Bed:
    """One training, ready to play."""

    recipe: Recipe
    state: State
    engine: Engine
    feed: Pool
    rows: Rows  # for probes

    @classmethod
    def of(cls, c: Config, seed: int, arm: str, budget: int) -> Bed:
        """As a run builds it, with first weights as large as they were drawn."""
        recipe = recipe_of(c, arm, budget).override(f"seed={seed}")
        train, held = points(c.set), points(c.set, "#test")
        feed, steps = Pool(train, seed), recipe["steps"]
        game = new_game(recipe, feed.spec, steps=steps)
        begun(c, game)
        state, engine = build(recipe, feed.spec, Decided("cpu", "float32", False), steps=steps, game=game)
        return cls(recipe, state, engine, feed, Rows(train[:PROBED], held[:PROBED]))

    def look(self, name: str) -> dict[str, Any]:
        """Of the weights as they are and of their average, the worse."""
        found = [judged(name, game) for game in (self.state.game, self.state.best_game())]
        return {"step": self.state.now.step, **min(found, key=lambda h: (h["healthy"], h["score"]))}


class Arm:
    """What happens beside a training, and what is written down of it."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.actions: list[Action] = []

    def watches(self) -> list[Watch]:
        return []

    def not_finite(self, error: NonFiniteError) -> None:
        """What to do about it; whoever knows nothing raises it again."""
        raise error


class On(Arm):
    """The doctor and the autopilot."""

    def __init__(self, bed: Bed) -> None:
        super().__init__(bed)
        about = about_run(bed.state, bed.recipe, bed.feed)  # type: ignore[arg-type]  # which is asked for its spec alone
        self.pilot = Autopilot(bed.state, about, tell=self.actions.append)
        self.doctor = Doctor(about, rows=bed.rows, heed=lambda state, diagnosis: self._heed(diagnosis))

    def _heed(self, diagnosis: Any) -> None:
        self.pilot.act(diagnosis)

    def watches(self) -> list[Watch]:
        return self.doctor.watches()

    def not_finite(self, error: NonFiniteError) -> None:
        self.doctor.stopped(self.bed.state)
        refusal = self.pilot.rescue(self.bed.state, str(error))
        if refusal is not None:
            raise Stop(refusal)


class Placebo(Arm):
    """As many turns of some knob in some direction, at the steps at which the autopilot made its own."""

    def __init__(self, bed: Bed, steps: list[int], key: tuple[str, int]) -> None:
        super().__init__(bed)
        self.steps, self.key = steps, key

    def watches(self) -> list[Watch]:
        return [(always, self._act)]

    def _act(self, state: State, reports: Any) -> None:
        for i, step in enumerate(self.steps):
            if step == state.now.step:
                self._turn(state, i)

    def _turn(self, state: State, i: int) -> None:
        which, way = uniform((2,), 1, key=("placebo", *self.key), first=i)[0].tolist()
        found = [knob for _, knob in sorted(knobs(state).items())]
        knob = found[int(which * len(found))]
        before = knob.value
        after = knob.stepped(2.0 if way < 0.5 else 0.5)
        if after is not None:
            knob.set(after)
            self.actions.append(Action(state.now.step, knob.name, before, after, "chance"))


def turns_of(run: dict[str, Any]) -> list[int]:
    """At which steps the autopilot turned a knob."""
    return [a["step"] for a in run["actions"] if a["knob"] != "weights"]


def played(c: Config, seed: int, arm: str, budget: int, turns: list[int]) -> dict[str, Any]:
    """Play it; `turns`: the steps at which the autopilot turned a knob, for the placebo."""
    bed = Bed.of(c, seed, arm, budget)
    sides: dict[str, Callable[[], Arm]] = {
        "on": lambda: On(bed), "placebo": lambda: Placebo(bed, turns, (c.name, seed)),
    }  # fmt: skip
    side = sides.get(arm, lambda: Arm(bed))()
    began = time.monotonic()
    looks, stopped = _to_the_end(bed, side, c.set)
    return {
        "config": c._asdict(), "seed": seed, "arm": arm, "budget": budget, "steps": bed.recipe["steps"],
        "ended": bed.state.now.step, "stopped": stopped, "curve": looks,
        # who did not play to the end is not healthy, whatever was left behind
        "healthy": bool(looks[-1]["healthy"]) and stopped is None and len(looks) == LOOKS,
        "left": bool(looks[-1]["healthy"]),
        "actions": [a.to_json() for a in side.actions], "seconds": round(time.monotonic() - began, 2),
    }  # fmt: skip


def _to_the_end(bed: Bed, side: Arm, name: str) -> tuple[list[dict[str, Any]], str | None]:
    """Looks at the samples, and why it did not play to the end, if it did not."""
    steps = bed.recipe["steps"]
    due = {steps * (i + 1) // LOOKS for i in range(LOOKS)}
    looks: list[dict[str, Any]] = []

    def look() -> None:
        looks.append(bed.look(name))

    def check(state: State, reports: Any) -> None:
        try:
            state.check_finite()
        except NonFiniteError as error:
            side.not_finite(error)

    watch = [*side.watches(), (every(CHECK), check), (lambda now: now.step in due, lambda state, reports: look())]
    stopped = None
    try:
        train(bed.state, bed.engine, bed.feed, steps, watch)
        bed.state.check_finite()
    except (NonFiniteError, Stop) as error:
        stopped = str(error)
        look()
    return looks, stopped
