"""One kept training, judged by the detectors as they are now."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from doctor_faults import Case
from doctor_play import TRUTH, about_again
from doctor_rules import RULES, said
from gantlet.doctor import Diagnosis, Window

LAST = 2  # looks at the samples that must all be good, or the last of them bad


class Judged(NamedTuple):
    """What is known of a training, and what was said of it."""

    set: str
    case: str
    seed: int
    expected: str  # "": nothing is wrong
    accepted: list[str]
    who: str  # a word that the finding must name
    code: bool  # no option undoes the fault
    health: str  # "healthy", "broken", or "unsure": good at one look and not at another
    steps: int
    first_good: int | None  # step of the first good look
    stopped: bool  # before its last step, since something was not finite
    lost: int | None  # step from which on its samples are not good; None: they are
    cause: str  # what the doctor says is the cause; "": nothing
    named: bool  # does it name whom it must?
    step: int | None  # at which something was believed first
    found: list[str]  # all findings, causes first
    remedy: str
    change: list[str]  # what the first remedy changes
    rules: dict[str, list[Any] | None]  # the baselines' [label, step]


def judged(cell: dict[str, Any], case: Case) -> Judged:
    """A cell as the detectors see it now."""
    windows = [Window.of_json(w) for w in cell["windows"]]
    diagnosis = Diagnosis.of(about_again(cell), windows)
    cause, ordered = diagnosis.cause, diagnosis.ordered
    remedy = cause.remedies[0] if cause is not None and cause.remedies else None
    health = health_of(cell)
    return Judged(
        set=cell["set"], case=cell["case"], seed=cell["seed"], expected=case.expected, accepted=list(case.accepted),
        who=case.who, code=case.code, health=health, steps=cell["ended"],
        first_good=next((look["step"] for look in cell["trace"] if look["healthy"]), None),
        stopped=cell["stopped"] is not None, lost=None if health == "healthy" else lost_at(cell),
        cause="" if cause is None else cause.name,
        named=cause is not None and (not case.who or bool(re.search(rf"\b{case.who}\b", cause.sign.who))),
        step=min((f.believed for f in ordered), default=None), found=[f.name for f in ordered],
        remedy="" if remedy is None else remedy.text, change=[] if remedy is None else list(remedy.change),
        rules={name: None if (s := said(rule, windows)) is None else list(s) for name, rule in RULES.items()},
    )  # fmt: skip


def health_of(cell: dict[str, Any]) -> str:
    """Healthy: the last looks were good. Broken: it stopped, or the last one was not."""
    good = [look["healthy"] for look in cell["trace"]]
    if cell["stopped"] or not good or not good[-1]:
        return "broken"
    return "healthy" if all(good[-LAST:]) else "unsure"


def lost_at(cell: dict[str, Any]) -> int:
    """The end of what was still good, or of a training that stopped."""
    last = max((look["step"] for look in cell["trace"] if look["healthy"]), default=0)
    return int(cell["ended"]) if cell["stopped"] else min(last + TRUTH, int(cell["ended"]))


class Score(NamedTuple):
    """Of one who says what is wrong, on some trainings."""

    faults: int  # that are truly broken
    tried: int
    detected: float
    exact: float  # macro: the mean over cases
    accepted: float
    healthy: int
    controls: int
    alarms: int
    interval: tuple[float, float]
    step: float  # median at which something was said of a broken one
    early: float  # median of that over the step at which the samples show it


Say = Callable[[Judged], tuple[str, int] | None]  # label and step, or nothing


def doctor(run: Judged) -> tuple[str, int] | None:
    return None if run.step is None else (run.cause, run.step)


def rule(name: str) -> Say:
    return lambda run: None if (found := run.rules[name]) is None else (str(found[0]), int(found[1]))


def score(runs: Sequence[Judged], say: Say) -> Score:
    """The numbers of one who says something of each run, or nothing."""
    broken = [r for r in runs if r.expected and r.health == "broken"]
    controls = [r for r in runs if not r.expected]
    healthy = [r for r in controls if r.health == "healthy"]
    heard = [(r, say(r)) for r in broken]
    alarms = sum(say(r) is not None for r in healthy)
    usual = usual_steps(runs)
    steps = [(s[1], s[1] / visible(r, usual)) for r, s in heard if s is not None]
    return Score(
        faults=len(broken), tried=sum(bool(r.expected) for r in runs),
        detected=_mean(s is not None for _, s in heard),
        exact=_macro([(r.case, s is not None and s[0] == r.expected) for r, s in heard]),
        accepted=_macro([(r.case, s is not None and s[0] in (r.expected, *r.accepted)) for r, s in heard]),
        healthy=len(healthy), controls=len(controls), alarms=alarms, interval=wilson(alarms, len(healthy)),
        step=_median(s for s, _ in steps), early=_median(share for _, share in steps),
    )  # fmt: skip


def visible(run: Judged, usual: dict[str, float]) -> float:
    """The step at which a broken training shows: where it stopped, or where its samples are bad for good and a healthy
    one's would be good by now."""
    lost = run.lost or run.steps
    return lost if run.stopped else max(lost, usual.get(run.set, 0))


def usual_steps(runs: Iterable[Judged]) -> dict[str, float]:
    """Set -> the step at which a control is usually good for the first time: before it nobody can see that a run is not."""
    found: dict[str, list[int]] = {}
    for run in runs:
        if not run.expected and run.first_good is not None:
            found.setdefault(run.set, []).append(run.first_good)
    return {name: statistics.median(steps) for name, steps in found.items()}


def named(runs: Iterable[Judged]) -> tuple[int, int]:
    """Of the broken runs that code broke: how many are found by an accepted name, of the right player; and all of them."""
    some = [r for r in runs if r.expected and r.code and r.health == "broken"]
    return sum(r.named and r.cause in (r.expected, *r.accepted) for r in some), len(some)


def often(runs: Iterable[Judged]) -> str:
    """What was said of some runs, the most frequent first."""
    counts = Counter(r.cause or "nothing" for r in runs)
    return ", ".join(f"{name} {count}" if count > 1 else name for name, count in counts.most_common())


def wilson(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    if n == 0:
        return 0.0, 1.0
    p, q = k / n, z * z / n
    middle, reach = (p + q / 2) / (1 + q), z * math.sqrt(p * (1 - p) / n + q / (4 * n)) / (1 + q)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _macro(pairs: Sequence[tuple[str, bool]]) -> float:
    cases = dict.fromkeys(case for case, _ in pairs)
    return _mean(_mean(good for case, good in pairs if case == one) for one in cases)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return statistics.fmean(found) if found else math.nan


def _median(values: Iterable[float]) -> float:
    found = list(values)
    return statistics.median(found) if found else math.nan
