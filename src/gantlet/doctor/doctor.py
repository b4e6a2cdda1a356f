"""The doctor at the bedside: watchers that put vitals down, make windows of them, and say what is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gantlet.core.dynamics import Reports
from gantlet.core.state import NEVER, State
from gantlet.core.train import Watch
from gantlet.core.when import Now, always
from gantlet.doctor.diagnosis import Diagnosis, Finding
from gantlet.doctor.finding import RANKS, About
from gantlet.doctor.probes import Rows, probe
from gantlet.doctor.ring import Ring, Row
from gantlet.doctor.vitals import Look, pulse
from gantlet.doctor.window import Window, window

EARLY = (20, 50)  # steps at which the first windows end: what is miswired shows at once
LONG = 100  # steps a window, later
PROBED = 300  # steps between probes; they are taken in the early windows too

Tell = Callable[[Finding, Diagnosis], None]


def ends(step: int) -> bool:
    """Does a window end after this step?"""
    return step in EARLY or step % LONG == 0


def probed(step: int) -> bool:
    """Is the window that ends here one with probes?"""
    return step in (*EARLY, LONG, 2 * LONG) or step % PROBED == 0


class Doctor:
    """Watches one training. It changes nothing: weights are bit for bit what they are without it.

    `look`: steps between closer looks. `rows`: real rows that probes may show the critic. `write`: keeps a window's record.
    `tell`: is called once for each finding, when it is believed. `heed`: is called after each window, with the state: who
    acts on what was found.
    """

    def __init__(
        self,
        about: About,
        *,
        look: int = 10,
        rows: Rows | None = None,
        write: Callable[[dict[str, Any]], None] = lambda record: None,
        tell: Tell = lambda finding, diagnosis: None,
        heed: Callable[[State, Diagnosis], None] = lambda state, diagnosis: None,
    ) -> None:
        self.look, self.rows, self.write, self.tell, self.heed = look, rows, write, tell, heed
        self.diagnosis = Diagnosis(about)
        self.eyes = Look()
        self.rings = {"pulse": Ring(LONG), "look": Ring(LONG)}
        self.kept: dict[str, list[Row]] = {"pulse": [], "look": []}  # on the host, of the window that is not over

    @property
    def about(self) -> About:
        return self.diagnosis.about

    def watches(self) -> list[Watch]:
        """What to watch a training with."""
        return [(always, self._pulse), (self._looks, _Needing(self._look)), (lambda now: ends(now.step), self._end)]

    def _looks(self, now: Now) -> bool:
        return now.step % self.look == 0 or now.step == 1

    def _pulse(self, state: State, reports: Reports) -> None:
        self.rings["pulse"].put(state.now.step, pulse(reports))

    def _look(self, state: State, reports: Reports) -> None:
        values = self.eyes(state, reports)
        if self.about.critic is None or self.about.generator is None:
            self.diagnosis.about = _turns_of(self.about, values)
        self.rings["look"].put(state.now.step, values)

    def _end(self, state: State, reports: Reports) -> None:
        more = probe(state, self.about, self.rows) if probed(state.now.step) else {}
        self.close(more)
        self.heed(state, self.diagnosis)

    def close(self, more: Mapping[str, float] | None = None, *, step: int = 0) -> list[Finding]:
        """End the window here; answers what is newly believed. `step`: where that is, if nothing was looked at in it."""
        rows = self._fetched()
        if not (rows["pulse"] or rows["look"] or more):
            return []
        made = window(rows["pulse"], rows["look"], {**(more or {}), **self._still()}, batch=self.about.batch, step=step)
        self.kept = {"pulse": [], "look": []}
        self.write(made.to_json())
        new = self.diagnosis.see(made)
        for finding in sorted(new, key=lambda f: RANKS.index(f.detector.rank)):  # causes before consequences
            self.tell(finding, self.diagnosis)
        return new

    def stopped(self, state: State) -> list[Finding]:
        """Training stopped because something was not finite: what, and in which step first."""
        first = {
            f"alarm.{turn}.{label}": float(step)
            for (turn, labels), steps in state.alarms.items()
            for label, step in zip(labels, steps.tolist())
            if step != NEVER
        }
        return self.close(first, step=state.now.step)

    def _still(self) -> dict[str, float]:
        """still_at.TURN.k: the k-th weight of its player has had no gradient at all in the last look."""
        found = {}
        for turn, norms in self.eyes.norms.items():
            for k in (norms == 0).nonzero().flatten().tolist():
                found[f"still_at.{turn}.{k}"] = 1.0
        return found

    def _fetched(self) -> dict[str, list[Row]]:
        for name, ring in self.rings.items():
            ring.fetch()
            self.kept[name] += ring.arrived(wait=True)
        return self.kept

    # ---- what is kept with a saved state: the rows of the window that is not over -------------------------------------

    def state_dict(self) -> dict[str, Any]:
        kept = {name: _packed(rows) for name, rows in self._fetched().items()}
        return {**kept, "marks": dict(self.eyes.marks), "norms": dict(self.eyes.norms)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.kept = {name: _unpacked(state.get(name, {})) for name in self.kept}
        self.eyes.marks, self.eyes.norms = dict(state.get("marks", {})), dict(state.get("norms", {}))

    def recall(self, windows: Sequence[Window]) -> None:
        """Take up the windows that were judged before a resume; what they showed was said then."""
        names = dict.fromkeys((name for w in windows for name in w.values), torch.empty(0))
        self.diagnosis = Diagnosis.of(_turns_of(self.about, names), windows)


class _Needing:
    """A watcher with needs of its own."""

    needs = Look.needs

    def __init__(self, do: Callable[[State, Reports], None]) -> None:
        self.do = do

    def __call__(self, state: State, reports: Reports) -> None:
        self.do(state, reports)


def _turns_of(about: About, names: Mapping[str, Tensor]) -> About:
    """Which turn is the critic's and which the generator's, by what they show."""
    critic = next((n.removesuffix(".auc") for n in names if n.endswith(".auc")), about.critic)
    generator = next((n.removesuffix(".slope.fake") for n in names if n.endswith(".slope.fake")), about.generator)
    return replace(about, critic=about.critic or critic, generator=about.generator or generator)


def _packed(rows: Sequence[Row]) -> dict[str, Tensor]:
    found: dict[str, list[list[float]]] = {}
    for row in rows:
        found.setdefault("|".join(row.values), []).append([float(row.step), *row.values.values()])
    return {names: torch.tensor(values, dtype=torch.float64) for names, values in found.items()}


def _unpacked(packed: Mapping[str, Tensor]) -> list[Row]:
    rows = [
        Row(int(step), dict(zip(names.split("|"), values)))
        for names, table in packed.items()
        for step, *values in table.tolist()
    ]
    return sorted(rows, key=lambda row: row.step)
