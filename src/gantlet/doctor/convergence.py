"""When to stop: nothing wrong, a score that no longer moves, players at rest, and all of it for long enough."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from gantlet.core.optimizers import Player
from gantlet.doctor.diagnosis import Diagnosis, series

MEMORIES = 5  # of the longest-remembering optimiser: a late burst of Adam comes after some 3.5 of them
LEAST = 500  # steps of the hold test where no optimiser remembers for long
SCORES = 8  # that a trend is judged by: fewer cannot tell one from noise
WINDOWS = 10  # the same of the critic's gap, which is a mean over a window each
RECENT = 5  # windows that the AUC is a mean over: a look at 64 rows is off by 0.05, five windows of ten by 0.007
LEVEL = 0.05  # how near to one half the AUC must be: one mode of eight that is missed makes it 0.56
ERRORS = 1.64  # standard errors within which a change is noise: stopping late costs less than stopping early
BROKEN = 3.0  # those that break a hold test off: it asks many times, and noise alone must not make it endless
TRIFLE = 0.02  # of its level: a change over the whole series that nobody would wait for, noise or not


class Trend(NamedTuple):
    """What a series did, as a straight line through it says."""

    change: float  # over its length
    error: float  # one standard error of that
    level: float  # median of the sizes

    def flat(self, errors: float = ERRORS) -> bool:
        """Is the change within its noise, or a trifle?"""
        return abs(self.change) <= max(errors * self.error, TRIFLE * self.level)


def trend(steps: Sequence[float], values: Sequence[float]) -> Trend:
    """The median of all slopes between two points (Theil 1950, Sen 1968), and its error from the median distance of the
    points from that line: neither minds a few outliers. Of at least three points."""
    slopes = [
        (values[j] - values[i]) / (steps[j] - steps[i])
        for i in range(len(steps))
        for j in range(i + 1, len(steps))
        if steps[j] > steps[i]
    ]
    slope = statistics.median(slopes)
    rests = [v - slope * s for s, v in zip(steps, values)]
    middle = statistics.median(rests)
    noise = 1.4826 * statistics.median(abs(r - middle) for r in rests)  # a normal's deviation from its quartiles
    n = len(steps)
    # that of least squares with evenly spaced points; two degrees of freedom went into the line
    error = noise * math.sqrt(12 * (n - 1) / (n * (n + 1)) * n / max(1, n - 2))
    return Trend(slope * (steps[-1] - steps[0]), error, statistics.median(abs(v) for v in values))


class Convergence:
    """Says when a training has converged, and until then what is missing.

    It has when no finding holds, the score is flat, the critic's AUC is near one half or its gap is flat, and all of this
    has lasted for `hold` steps in a row, five memories of the optimiser. A good state that is merely passed through does
    not: most failures come after a first success. A score alone would do neither: it is flat while modes are still missing,
    and those the critic tells apart. A gap that rests away from one half is let pass, because of many image games
    no critic is ever fooled; the words say so.
    """

    def __init__(self, *, hold: int = LEAST) -> None:
        self.hold = hold
        self.scores: dict[int, float] = {}  # step -> score
        self.since: int | None = None  # the step from which on everything but time was there
        self.missing: tuple[str, ...] = ("a first look",)

    @classmethod
    def of(cls, players: Iterable[Player]) -> Convergence:
        """With a hold test of 5 / (1 - beta2) steps for the largest beta2 among the players' optimisers."""
        longest = max((memory(player) for player in players), default=0.0)
        return cls(hold=max(LEAST, math.ceil(MEMORIES * longest - 1e-6)))

    def see(self, diagnosis: Diagnosis, step: int, score: float | None = None) -> str | None:
        """At the end of a window: why to stop, or None. `score`: only where a new one was taken; it may be better high or
        low."""
        if score is not None:
            self.scores[step] = score
            self.scores = dict(sorted(self.scores.items())[-SCORES:])
        errors = ERRORS if self.since is None else BROKEN
        wanting = [w for w in (_ill(diagnosis), self._moving(errors), _apart(diagnosis, errors)) if w is not None]
        self.since = None if wanting else step if self.since is None else self.since
        left = self.hold if self.since is None else self.hold - (step - self.since)
        self.missing = tuple(wanting) + ((f"{left:,} more steps of it",) if left > 0 else ())
        return None if self.missing else self._reason(diagnosis)

    @property
    def words(self) -> str:
        """What is still missing; empty once nothing is."""
        return f"waiting for: {'; '.join(self.missing)}" if self.missing else ""

    def _moving(self, errors: float) -> str | None:
        steps, values = list(self.scores), list(self.scores.values())
        if len(values) < SCORES:
            return f"{SCORES - len(values)} more scores"
        if not all(math.isfinite(v) for v in values):
            return "a finite score"
        found = trend(steps, values)
        if found.flat(errors):
            return None
        way = "fell" if found.change < 0 else "rose"
        return (
            f"a score that settles (it {way} by {abs(found.change):.3g} +- {found.error:.2g} since step {steps[0]:,})"
        )

    def _reason(self, diagnosis: Diagnosis) -> str:
        first, scores = next(iter(self.scores)), list(self.scores.values())
        auc = _auc(diagnosis)
        rests = ""
        if auc is not None and abs(auc - 0.5) > LEVEL:
            rests = f"; its critic rests, but still tells real from fake in {max(auc, 1 - auc):.0%} of pairs"
        level = statistics.median(scores)
        flat = f"the score ({level:.4g}) flat since step {first:,}"
        return f"converged: nothing wrong since step {self.since:,}, {flat}{rests}"

    # ---- what is kept with a saved state --------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {"since": self.since, "scores": {str(step): score for step, score in self.scores.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.since = None if state["since"] is None else int(state["since"])
        self.scores = {int(step): float(score) for step, score in state["scores"].items()}


def memory(player: Player) -> float:
    """Steps that a player's optimiser remembers: 1 / (1 - b) for the largest b of its moving means; 1 of a plain step."""
    group = player.opt.param_groups[0]
    means = [*group.get("betas", ()), group.get("alpha", 0.0), group.get("momentum", 0.0)]
    return 1 / (1 - max(0.0, *map(float, means)))


def _ill(diagnosis: Diagnosis) -> str | None:
    names = [finding.name for finding in diagnosis.holding]
    return f"health ({', '.join(names)} holds)" if names else None


def _auc(diagnosis: Diagnosis) -> float | None:
    """The critic's AUC in the last windows; None where no critic is seen, or higher does not mean better."""
    about = diagnosis.about
    _, values = series(diagnosis.windows, f"{about.critic}.auc")
    return statistics.fmean(values[-RECENT:]) if about.ordered and len(values) >= RECENT else None


def _apart(diagnosis: Diagnosis, errors: float) -> str | None:
    """What the critic still does; None: it is as good as blind, or rests, or there is none."""
    auc = _auc(diagnosis)
    if auc is not None and abs(auc - 0.5) <= LEVEL:
        return None
    steps, gaps = series(diagnosis.windows, f"{diagnosis.about.critic}.gap")
    if not diagnosis.windows:
        return "a first window"
    if not gaps and diagnosis.about.critic is None:
        return None
    if len(gaps) < WINDOWS:
        return f"{WINDOWS - len(gaps)} more windows of the critic's gap"
    found = trend(steps[-WINDOWS:], gaps[-WINDOWS:])
    if found.flat(errors):
        return None
    seen = "" if auc is None else f", AUC {auc:.2f}"
    way = "fell" if found.change < 0 else "rose"
    return f"the critic's gap to settle (it {way} by {abs(found.change):.3g} +- {found.error:.2g}{seen})"
