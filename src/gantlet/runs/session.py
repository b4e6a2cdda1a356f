"""A training session: a run folder, a state, and the watchers that log, draw, save and stop."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import gantlet
from gantlet.core.dynamics import Reports
from gantlet.core.engine import Engine
from gantlet.core.errors import GantletError, NonFiniteError
from gantlet.core.game import Data, Game, Spec
from gantlet.core.machine import Ranks, describe_machine
from gantlet.core.recipe import Recipe
from gantlet.core.state import State
from gantlet.core.train import Stop, Watch, train
from gantlet.data import Dataset, Prefetch
from gantlet.doctor import Doctor
from gantlet.runs import checkpoint, model
from gantlet.runs.behind import ends
from gantlet.runs.build import build, decide, numbers, refuse_unlabelled, spec_of, stream_of
from gantlet.runs.doctoring import about_run, doctor_for, facts_of, recall
from gantlet.runs.folder import Log, RunFolder
from gantlet.runs.memory import out_of_memory, rows_that_fit
from gantlet.runs.plugins import given, modules_of
from gantlet.runs.resuming import compare, data_facts, decided_before, take_over
from gantlet.runs.samples import can_be_drawn, draw_progress, looked_at
from gantlet.runs.score import Score, thumbnail_score
from gantlet.runs.show import Quiet, Show
from gantlet.runs.signals import signals
from gantlet.runs.standing import standing
from gantlet.runs.steering import Steering

STOPS = 10  # several ranks ask each other every so many steps whether to stop


@dataclass
class Outcome:
    """How a session ended."""

    path: Path
    step: int
    reason: str  # "done", or what stopped it
    grid: Path | None
    score: Score | None
    seconds: float
    spec: Spec  # of the data
    modules: tuple[str, ...] = ()  # of the user's own that its parts come from
    findings: tuple[str, ...] = ()  # what the doctor still sees, the likely cause first


@dataclass
class Session:
    """One training, ready to play: `called` by its makers, who also say what it goes on from."""

    recipe: Recipe
    folder: RunFolder
    dataset: Dataset
    state: State
    engine: Engine
    steps: int
    show: Show = field(default_factory=Quiet)
    saved: int | None = None  # step of the last state on disk
    grid: Path | None = None
    score: Score | None = None
    doctor: Doctor | None = None
    steering: Steering = field(init=False)
    _began: float = 0.0
    _mark: tuple[float, int, int] = (0.0, 0, 0)  # time, step and images at the last row

    # ---- beginnings -----------------------------------------------------------------------------------------------

    @classmethod
    def new(
        cls, recipe: Recipe, dataset: Dataset, folder: RunFolder, *, device: torch.device, show: Show | None = None,
        game: Game | None = None, changes: Sequence[str] = (),
    ) -> Session:  # fmt: skip
        """A run from its first step; run.yaml is written before anything is trained."""
        decided = decide(recipe, device)
        ranks = Ranks.join(device)
        state, engine = build(recipe, spec_of(recipe, dataset), decided, steps=recipe["steps"], ranks=ranks, game=game)
        refuse_unlabelled(state.game, dataset)
        facts = {
            "gantlet": gantlet.__version__,
            "recipe": recipe.name,
            "changes": list(changes),
            **({"with": own} if (own := modules_of(recipe.tree)) else {}),
            "why": list(recipe.why),
            "settings": recipe.tree,
            "decided": decided._asdict(),
            "machine": describe_machine(device),
            "data": data_facts(dataset),
            "doctor": facts_of(about_run(state, recipe, dataset)),
        }
        if ranks.first:
            folder.make()
            folder.write(facts)
        made = cls(recipe, folder, dataset, state, engine, recipe["steps"], show or Quiet())
        made._called()
        return made

    @classmethod
    def resume(
        cls, recipe: Recipe, dataset: Dataset, folder: RunFolder, *, show: Show | None = None,
        device: torch.device | None = None, game: Game | None = None,
    ) -> Session:  # fmt: skip
        """The run as its last good state left it; says what is not as it was."""
        show = show or Quiet()
        facts = folder.read()
        decided = decided_before(facts, recipe, device)
        compare(facts, dataset, torch.device(decided.device), show.say)
        ranks = Ranks.join(torch.device(decided.device))
        state, engine = build(recipe, spec_of(recipe, dataset), decided, steps=recipe["steps"], ranks=ranks, game=game)
        refuse_unlabelled(state.game, dataset)
        made = cls(recipe, folder, dataset, state, engine, recipe["steps"], show)
        made._called()
        if checkpoint.states(folder.state):
            take_over(state, folder, recipe, show.say)
        else:
            show.say("nothing had been saved yet: beginning at the first step")
        if ranks.first:
            folder.write({**facts, "settings": recipe.tree})
        made.saved = state.now.step or None
        if made.doctor is not None:
            recall(made.doctor, folder, state.now.step)
        made.steering.resumed()
        return made

    def _called(self) -> None:
        """The doctor and who acts on what is found, if they are wanted."""
        parts = (self.state, self.engine, self.recipe, self.dataset, self.folder, self.show.warn)
        self.steering = Steering(self.folder, self.show.warn)
        self.doctor = doctor_for(*parts, self.steering.heed)
        if self.doctor is not None:
            self.state.watchers["doctor"] = self.doctor
        self.steering.board(self.state, self.recipe, self.doctor, self.engine)

    # ---- playing --------------------------------------------------------------------------------------------------

    def run(self, *, minutes: float | None = None, until: str | None = None, watch: Sequence[Watch] = ()) -> Outcome:
        """Play to the last step, or until time is up, a rule is met or a signal comes; what was saved stays good."""
        if until is not None:
            self.steering.end_when(until, lambda: self.score)
        self._began = time.monotonic()
        self._mark = (self._began, self.state.now.step, self.state.now.images)
        self.log = Log(self.folder.log) if self.engine.ranks.first else None
        feed = Prefetch(stream_of(self.recipe, self.dataset))
        try:
            with signals() as asked:  # they wait until the last state is on disk
                seen = [] if self.doctor is None else self.doctor.watches()  # before anybody stops the training
                reason = self._play(feed, [*seen, *watch, *self._watchers(asked, minutes)])
                self._finish()
        except NonFiniteError as error:
            raise NonFiniteError(f"{error}\n{self._last_good()}") from error
        except Exception as error:
            if not self.state.now.step and self.engine.ranks.first:
                self.folder.unmake()  # it holds nothing, and would be in the way of the command that is put right
            if not out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)  # which hold the step that was too big
            raise GantletError(self._too_big(feed)) from error
        finally:
            feed.close()
        seconds = time.monotonic() - self._began
        modules = tuple(modules_of(self.recipe.tree))
        found = () if self.doctor is None else tuple(f.name for f in self.doctor.diagnosis.holding)
        ended = (self.folder.path, self.state.now.step, reason, self.grid, self.score, seconds, self.dataset.spec)
        return Outcome(*ended, modules, found)

    def _play(self, feed: Data, watch: Sequence[Watch]) -> str:
        """To the last step, or until somebody asks to stop; why it ended."""
        while self.state.now.step < self.steps:
            try:
                train(self.state, self.engine, feed, self.steps, watch)
            except Stop as stop:
                return str(stop) if self.state.now.step < self.steps else "done"
            except NonFiniteError as error:
                if self.doctor is not None:
                    self.doctor.stopped(self.state)
                refusal = self.steering.rescue(self.state, error)
                if refusal is not None:
                    return refusal
        return "done"

    def _watchers(self, asked: list[str], minutes: float | None) -> list[Watch]:
        def due(interval: int) -> Callable[[Any], bool]:
            return lambda now: interval > 0 and now.step % interval == 0

        log, sample, save = (self.recipe[f"{name}_every"] for name in ("log", "sample", "save"))
        begun = self.state.now.step

        def stop(state: State, reports: Reports) -> None:
            late = minutes is not None and time.monotonic() - self._began > 60 * minutes
            reason = asked[0] if asked else f"{minutes:g} minutes are over" if late else self.steering.reason
            if self.engine.ranks.any(bool(reason), self.engine.device):  # all ranks stop at the same step
                raise Stop(reason or "stopped by another rank")

        return [
            (lambda now: now.step % log == 0 or now.step in (begun + 1, self.steps), self._log),
            (lambda now: due(sample)(now) and now.step < self.steps, self._draw),
            (lambda now: due(save)(now) and now.step < self.steps, lambda state, reports: self.save()),
            (lambda now: self.engine.ranks.world == 1 or due(STOPS)(now), stop),
        ]

    def _log(self, state: State, reports: Reports) -> None:
        state.check_finite()
        row = self._row(reports)
        if self.log is not None:
            self.log.write(row)
            self.show.row(row, self.steps)

    def _row(self, reports: Reports) -> dict[str, Any]:
        now, (then, step, images) = self.state.now, self._mark
        clock = time.monotonic()
        self._mark = (clock, now.step, now.images)
        terms = {_label(turn, k): v for turn, r in reports.items() for k, v in r.terms.items()}
        stats = {f"{turn}.{k}": v for turn, r in reports.items() for k, v in r.stats.items()}
        norms = {turn: r.gradient for turn, r in reports.items() if r.gradient is not None}
        row: dict[str, Any] = {
            "step": now.step,
            "images": now.images,
            "seconds": round(clock - self._began, 3),
            "images_per_s": round((now.images - images) / max(clock - then, 1e-9), 1),
            "steps_per_s": round((now.step - step) / max(clock - then, 1e-9), 3),
            "terms": numbers(terms),
            "stats": numbers(stats),
            "gradient": numbers(norms),
            "lr": {name: player.rate(now) for name, player in self.state.players.items()},
        }
        if self.score is not None:
            row["score"] = self.score._asdict()
        return row

    def _draw(self, state: State, reports: Reports) -> None:
        if not self.engine.ranks.first:
            return
        state.check_finite()
        game, path = state.best_game(), self.folder.samples / f"step-{state.now.step:08d}.png"
        with looked_at(game):
            self.score = thumbnail_score(game, self.dataset)
            self._keep_best(game, self.score)
            if can_be_drawn(self.dataset.spec):
                self.grid = draw_progress(game, self.dataset, path, n=self.recipe["samples"], seed=self.recipe["seed"])

    def _keep_best(self, game: Game, score: Score) -> None:
        """The weights of the lowest score so far, as a model of their own; over a resume too.

        Not on several ranks: the running statistics that rank 0 would save are its own between two saves.
        """
        if self.engine.ranks.world > 1:
            return
        was = model.told(self.folder.best).get("score")
        if was is None or not was["value"] <= score.value:
            model.save(game, self._config() | {"score": score._asdict()}, self.folder.best)

    def _config(self) -> dict[str, Any]:
        now = self.state.now
        facts: dict[str, Any] = {"recipe": self.recipe.name, "data": self.dataset.name}
        facts |= {
            "class_names": list(self.dataset.class_names),
            "step": now.step,
            "images": now.images,
            "averaged": bool(self.state.averages),
        } | ends(self.dataset)
        return model.config_of(self.recipe.tree, spec_of(self.recipe, self.dataset), **facts)

    def save(self) -> None:
        """A state on disk; refused once a term or a gradient was not finite."""
        self.state.check_finite()
        if self.saved == self.state.now.step:
            return
        self.engine.ranks.mean_buffers(self.state.game)
        if self.engine.ranks.first:
            checkpoint.save(self.state.state_dict(), self.folder.state, self.state.now.step)
        self.saved = self.state.now.step

    def _finish(self) -> None:
        """The last window, state, grid and model."""
        if self.doctor is not None and self.state.now.step == self.steps:  # one that was stopped goes on in its window
            self.doctor.close()
        self.save()
        game = self.state.best_game()
        self.engine.ranks.mean_buffers(game)  # an average has running statistics of its own
        if self.engine.ranks.first:
            if self.recipe["standing"]:
                rows = max(2, self.recipe["batch"])  # one alone has no variance
                standing(game, batches=self.recipe["standing"], batch=rows, seed=self.recipe["seed"])
            self._draw(self.state, {})
            model.save(game, self._config(), self.folder.model)
        self.engine.ranks.wait()

    # ---- ends -----------------------------------------------------------------------------------------------------

    def _last_good(self) -> str:
        if self.saved is None:
            return "nothing had been saved yet; start anew with the change"
        way = " ".join(
            ["gantlet train", str(self.folder.yaml), "--resume", *given(modules_of(self.recipe.tree)).split()]
        )
        return f"the last good state is step {self.saved}; go on from there with: {way}"

    def _too_big(self, feed: Data) -> str:
        fits = rows_that_fit(self.state, self.engine, feed)
        batch, now = self.recipe["batch"], self.state.now.step
        way = f"batch={fits} fits" if fits else "not even one row fits: use smaller networks or a smaller size"
        return f"step {now}: out of memory at batch {batch} on {self.engine.device}; {way}. {self._last_good()}"


def _label(turn: str, term: str) -> str:
    """`D.r1`; the adversarial term, which bears its turn's name, by that alone."""
    return turn if term == turn else f"{turn}.{term}"
