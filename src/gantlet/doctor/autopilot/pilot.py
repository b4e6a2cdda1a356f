"""Autopilot: acts on findings that hold, on one knob at a time, within bounds, and undoes what made things worse."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gantlet.core.errors import NonFiniteError
from gantlet.core.state import State
from gantlet.core.train import Stop
from gantlet.doctor.autopilot.action import Action
from gantlet.doctor.autopilot.knobs import Dial, knobs, turned, unusual
from gantlet.doctor.autopilot.moves import MOVES, RUIN, Move, Trial, deviation
from gantlet.doctor.autopilot.ring import Snapshots
from gantlet.doctor.diagnosis import Diagnosis, Finding
from gantlet.doctor.finding import RANKS, About

COOL = 3  # windows between two actions, in which the first is judged
QUICK = 1  # ... after one that made usual what was far from it: there is more to do, and it needs less proof
CLEAN = 2  # windows without a finding that certify a state
BANDS = {"auc": (0.4, 0.95), "diversity": (0.8, 1.25)}  # in a healthy state: some good image GANs live at an AUC of 0.9
RETRIES = 2  # rollbacks: fewer than three, then a person has to look
TURNED = RANKS.index("dynamics")  # knobs help against this and later ranks; what is wrong before is not a knob's
TURNED_BACK = {"lr": 0.5, "penalty": 2.0}  # with a rollback; a stiff training wants less of both


class Autopilot:
    """Turns the knobs of one training. Until it acts, it changes nothing.

    Made where training begins or goes on, then asked after every window. `snapshot_every`: steps between states that are
    kept to go back to. `tell`: called once for each action, as it is made.
    """

    def __init__(
        self,
        state: State,
        about: About,
        *,
        snapshot_every: int = 1_000,
        tell: Callable[[Action], None] = lambda action: None,
    ) -> None:
        self.state, self.about, self.snapshot_every, self.tell = state, about, snapshot_every, tell
        self.actions: list[Action] = []
        self.begin()
        self.trial: Trial | None = None
        self.barred: dict[str, str] = {}  # what was tried -> the harm that it did
        self.tries: dict[str, int] = {}  # finding -> moves that were made for it
        self.ways: dict[str, int] = {}  # knob -> window in which it was turned last, negative: down
        self.windows, self.rest, self.grace = 0, 0, 0  # seen; before which no knob is turned; nothing rolled back
        self.clean, self.retries = 0, 0
        self.stiff = False

    # ---- what its owner calls -------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The state as it is now is where training begins: what is gone back to before anything is certified."""
        self.ring = Snapshots(self.state)

    def act(self, diagnosis: Diagnosis) -> list[Action]:
        """What is done after this window. Stop, with what was tried, where going back has not helped."""
        done, self.windows = len(self.actions), self.windows + 1
        told = diagnosis.about  # which turn is whose is seen only when they play
        self.about = replace(
            self.about, critic=self.about.critic or told.critic, generator=self.about.generator or told.generator
        )
        holding = {f.name: f for f in diagnosis.holding}
        self.stiff = "stiff" in holding
        ruin = next((name for name in RUIN if name in holding and self._may_return(name)), None)
        if ruin is not None:
            refusal = self._return(ruin)
            if refusal is not None:
                raise Stop(refusal)
        else:
            self._judge(holding)
            self._turn(holding)
            self._certify(diagnosis)
        # what is judged from now on is the training as it is, not as its recipe says
        diagnosis.about = replace(diagnosis.about, turned=turned(self.state))
        return self.actions[done:]

    def rescue(self, state: State, reason: str) -> str | None:
        """After something was not finite: None, go on from the state that was restored; a text: give up, and why."""
        assert state is self.state, "an autopilot is of one training"
        return self._return(reason.partition(". ")[0])  # what happened, without the advice

    # ---- knobs ----------------------------------------------------------------------------------------------------

    def _judge(self, holding: Mapping[str, Finding]) -> None:
        """Take the last move back if the verdict is worse than before it; let go of it when its time is over."""
        if self.trial is None:
            return
        worse = self.trial.verdict(holding)
        if worse:
            self._take_back(worse)
        elif self.windows >= self.trial.until:
            self.trial = None

    def _take_back(self, worse: str) -> None:
        trial, self.trial = self.trial, None
        assert trial is not None
        self.barred[_way(trial.finding, trial.kind, trial.ratio)] = worse
        self._set(trial.kind, trial.before, worse, undone=True)

    def _turn(self, holding: Mapping[str, Finding]) -> None:
        causes = [f for f in holding.values() if RANKS.index(f.detector.rank) < TURNED]
        if self.trial is not None or self.windows < self.rest or causes:
            return
        for finding in holding.values():  # the cause first
            for move in self._moves(finding.name):
                turn = self._turn_of(move, finding)
                if turn is not None and self._made(turn, finding, holding, counts=move.ratio is not None):
                    return

    def _moves(self, name: str) -> list[Move]:
        """What is far from usual first; then in turn: a move after which the finding still holds gives way to the next."""
        moves = MOVES.get(name, ())
        first, rest = [m for m in moves if m.ratio is None], [m for m in moves if m.ratio is not None]
        done = self.tries.get(name, 0) % max(1, len(rest))
        return [*first, *rest[done:], *rest[:done]]

    def _turn_of(self, move: Move, finding: Finding) -> tuple[str, float, float] | None:
        """Which knob this move turns, by what ratio and to what value; None where there is none or it is at its bound.

        One player's knob, where the finding is about that player.
        """
        known, players = knobs(self.state), self.about.players
        who = players.get(finding.sign.who, finding.sign.who)
        if move.ratio is None:
            word, _, role = move.knob.partition(".")
            turn = {"CRITIC": self.about.critic, "GENERATOR": self.about.generator}.get(role) or ""
            whose = f"{word}.{who if role == 'WHO' else players.get(turn, turn)}" if role else word
            kind, ratio = unusual(self.state, self.about).get(whose, ("", 1.0))
            after = ratio * known[kind].value if kind in known else None
        else:
            whose, ratio = f"{move.knob}.{who}", move.ratio
            kind = whose if whose in known else move.knob
            after = known[kind].stepped(ratio) if kind in known else None
        return None if after is None else (kind, ratio, after)

    def _made(
        self, turn: tuple[str, float, float], finding: Finding, holding: Mapping[str, Finding], *, counts: bool
    ) -> bool:
        """Turn it, if it did no harm before and was not turned the other way just now."""
        kind, ratio, after = turn
        if _way(finding.name, kind, ratio) in self.barred or self._to_and_fro(kind, up=ratio > 1):
            return False
        before = knobs(self.state)[kind].value
        self._set(kind, after, finding.name)
        self.tries[finding.name] = self.tries.get(finding.name, 0) + counts
        self.rest = self.windows + (COOL if counts else QUICK)
        off = deviation(finding.sign)
        self.trial = Trial(
            kind, ratio, before, after, finding.name, finding.detector.rank, off, " ".join(holding),
            until=self.rest,
        )  # fmt: skip
        return True

    def _to_and_fro(self, kind: str, *, up: bool) -> bool:
        """Was this knob turned the other way a short while ago? A stiff game circles, too, while it comes to rest."""
        last = self.ways.get(kind, 0)
        return last != 0 and (last > 0) != up and self.windows - abs(last) < 2 * COOL

    def _set(self, kind: str, after: float, reason: str, *, undone: bool = False) -> None:
        knob = knobs(self.state)[kind]
        before = knob.value
        knob.set(after)
        self._note(Action(self.state.now.step, knob.name, before, after, reason, undone))
        self.rest = self.windows + COOL
        self.ways[kind] = 0 if undone else self.windows if after > before else -self.windows

    def _note(self, action: Action) -> None:
        self.actions.append(action)
        self.tell(action)

    # ---- going back -----------------------------------------------------------------------------------------------

    def _certify(self, diagnosis: Diagnosis) -> None:
        """Keep a state in which nothing was found for two windows, every so many steps."""
        self.clean = self.clean + 1 if self._healthy(diagnosis) else 0
        if self.clean >= CLEAN and self.state.now.step - self.ring.last.step >= self.snapshot_every:
            self.ring.add(self.state)

    def _healthy(self, diagnosis: Diagnosis) -> bool:
        critic = diagnosis.about.critic or self.about.critic
        seen = diagnosis.windows[-1].values
        inside = (low <= seen.get(f"{critic}.{name}", math.nan) <= high for name, (low, high) in BANDS.items())
        if diagnosis.holding or not (critic is None or all(inside)):
            return False
        try:
            self.state.check_finite()  # weights are, but buffers may not be
        except NonFiniteError:
            return False
        return True

    def _may_return(self, ruin: str) -> bool:
        """A collapse is one to go back from only where there was health before it."""
        return self.windows >= self.grace and (ruin != "collapse" or self.ring.last.certified)

    def _return(self, reason: str) -> str | None:
        """Restore the last good state with smaller steps and a firmer penalty; a text where that was tried often enough."""
        if self.trial is not None:
            self._take_back(reason)
        step, back, over = self.state.now.step, self.ring.last, self.retries >= RETRIES
        if not over or back.certified:
            kept = [(dial, dial.read()) for kind in TURNED_BACK for dial in self._dials(kind)]
            self.ring.restore(self.state)
            for dial, value in kept:  # knobs stay as they are now: a second retry goes further than the first
                dial.write(value)
            self._note(Action(step, "weights", step, back.step, reason))
        if over:
            return self._given_up(reason)
        for kind, ratio in TURNED_BACK.items():
            self._step(kind, 1 / ratio if kind == "penalty" and self.stiff else ratio, reason)
        self.retries += 1
        self.clean, self.grace = 0, self.windows + COOL
        return None

    def _dials(self, kind: str) -> tuple[Dial, ...]:
        found = knobs(self.state).get(kind)
        return () if found is None else found.dials

    def _step(self, kind: str, ratio: float, reason: str) -> None:
        """Turn a knob by a ratio, if there is such a knob and it is not at its bound."""
        found = knobs(self.state).get(kind)
        after = None if found is None else found.stepped(ratio)
        if after is not None:
            self._set(kind, after, reason)

    def _given_up(self, reason: str) -> str:
        tried = "; ".join(f"step {a.step:,}: {a}" for a in self.actions)
        back = self.ring.last
        left = f"the weights are those of step {back.step:,}, the last that were healthy; " if back.certified else ""
        return f"{reason}, again after {self.retries} rollbacks; {left}tried: {tried}"

    # ---- what is kept with a saved state --------------------------------------------------------------------------

    COUNTS = ("windows", "rest", "grace", "clean", "retries")

    def state_dict(self) -> dict[str, Any]:
        """Numbers and texts, and the states to go back to, on the host."""
        return {
            **{name: getattr(self, name) for name in self.COUNTS},
            "stiff": self.stiff,
            "actions": {str(i): action.to_json() for i, action in enumerate(self.actions)},
            "trial": {} if self.trial is None else self.trial.to_json(),
            "barred": dict(self.barred),
            "ways": dict(self.ways),
            "tries": dict(self.tries),
            "ring": self.ring.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name in self.COUNTS:
            setattr(self, name, int(state[name]))
        self.stiff = bool(state["stiff"])
        self.actions = [Action.of_json(action) for action in state["actions"].values()]
        self.trial = Trial(**state["trial"]) if state["trial"] else None
        self.barred = dict(state["barred"])
        self.ways = {kind: int(window) for kind, window in state["ways"].items()}
        self.tries = {name: int(count) for name, count in state["tries"].items()}
        self.ring.load_state_dict(state["ring"])


def _way(finding: str, kind: str, ratio: float) -> str:
    return f"{finding}: {kind} {'up' if ratio > 1 else 'down'}"
