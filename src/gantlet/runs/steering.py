"""Who acts on what a run's doctor finds: the autopilot, and the rule that ends a training that has converged."""

from __future__ import annotations

from collections.abc import Callable

from gantlet.core.engine import Engine
from gantlet.core.errors import InputError, NonFiniteError, nearest
from gantlet.core.recipe import Recipe
from gantlet.core.state import State
from gantlet.doctor import Diagnosis, Doctor
from gantlet.doctor.autopilot import Action, Autopilot
from gantlet.doctor.convergence import Convergence
from gantlet.runs.folder import Log, RunFolder
from gantlet.runs.score import Score

UNTIL = ("converged",)

Say = Callable[[str], None]


class Steering:
    """Asked after each of the doctor's windows; `reason` is why training should end, once there is one."""

    def __init__(self, folder: RunFolder, say: Say) -> None:
        self.folder, self.say = folder, say
        self.reason = ""
        self.pilot: Autopilot | None = None
        self.convergence: Convergence | None = None
        self.ends = False  # is convergence a reason to stop?
        self.score: Callable[[], Score | None] = lambda: None
        self.told: Score | None = None  # the score that was judged last

    def board(self, state: State, recipe: Recipe, doctor: Doctor | None, engine: Engine) -> None:
        """Take the autopilot on where the recipe wants it; what it and the rule remember is kept with the state."""
        if doctor is not None:
            self.convergence = state.watchers["convergence"] = Convergence.of(state.players.values())
        if not recipe["autopilot"]:
            return
        if not recipe["doctor"]:
            raise InputError("autopilot=true: it acts on what the doctor finds, and doctor=0; use doctor=10")
        if engine.ranks.world > 1:
            raise InputError(f"autopilot=true: {engine.ranks.world} ranks would each turn their own knobs; use one")
        assert doctor is not None
        self.pilot = Autopilot(state, doctor.about, tell=self._tell)
        state.watchers["autopilot"] = self.pilot

    def end_when(self, until: str, score: Callable[[], Score | None]) -> None:
        """Stop by this rule; InputError for one that is not known, or that has nobody to see it."""
        if until not in UNTIL:
            raise InputError(f"--until {until}: no such rule; {nearest(until, UNTIL)}")
        if self.convergence is None:
            raise InputError("--until converged: the doctor judges that, and doctor=0; use doctor=10, on one process")
        self.ends, self.score = True, score

    def heed(self, state: State, diagnosis: Diagnosis) -> None:
        """After a window."""
        if self.pilot is not None:
            self.pilot.act(diagnosis)
        if self.convergence is not None and self.ends and not self.reason:
            score = self.score()
            value = None if score is None or score is self.told else score.value  # one told again would look flat
            self.told = score
            self.reason = self.convergence.see(diagnosis, state.now.step, value) or ""

    def rescue(self, state: State, error: Exception) -> str | None:
        """After something was not finite: None, go on from a good state; a text: why that was given up. Without an
        autopilot the error is raised again."""
        if self.pilot is None:
            raise error
        refusal = self.pilot.rescue(state, str(error))
        try:
            state.check_finite()
        except NonFiniteError as still:  # there was no good state to leave behind
            raise NonFiniteError(f"{still}\nautopilot: {refusal}") from error
        return refusal

    def resumed(self) -> None:
        """After a saved state was taken over: an autopilot that was not there yet begins here."""
        if self.pilot is not None and not self.pilot.windows:
            self.pilot.begin()

    def _tell(self, action: Action) -> None:
        self.say(f"autopilot: step {action.step}: {action}")
        Log(self.folder.actions).write(action.to_json())
