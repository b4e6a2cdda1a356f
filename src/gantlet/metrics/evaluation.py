"""Several metrics of one pair of sets: each score with its interval, its floor and the protocol that made it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Game
from gantlet.core.registry import Part, Tree
from gantlet.metrics.about import About, about_of
from gantlet.metrics.classify import Classifier
from gantlet.metrics.features import Features, build
from gantlet.metrics.interval import GROUPS, Interval, jackknife, over_seeds
from gantlet.metrics.overlap import overlap_warnings
from gantlet.metrics.report import EvaluationReport, Score
from gantlet.metrics.sources import Kept, Source, count_of, head, once, spec_of, without

Metrics = Iterable[str] | Mapping[str, Tree | str]
INSTEAD = ("kd", "mind")  # where a distance needs more samples than there are: these need fewer


Answer = dict[str, Any]  # what a metric says


class _Asked(NamedTuple):
    label: str
    part: Part
    own: Tree  # options that were set

    @property
    def about(self) -> About:
        return about_of(self.part.fn)


def evaluate(
    real: Source,
    fake: Source,
    *,
    more: Sequence[Source] = (),
    features: str | Tree | Features = "raw",
    metrics: Metrics = ("fd",),
    held_out: Source | None = None,
    classifier: str | Classifier | None = None,
    model: Game | None = None,
    intervals: bool = True,
    seed: int = 0,
    batch: int = 256,
    device: torch.device | str | None = None,
    facts: Mapping[str, Any] | None = None,
    subject: Mapping[str, Any] | None = None,
) -> EvaluationReport:
    """Scores of fakes against reals, by metrics named or given as a map label -> `{use: name, **options}`.

    `more` are further independent sets of the same generator: the scores are then means, the intervals over the sets.
    With `held_out` (real samples that are not in `real`) every score has its floor. `features`, `classifier`, `model`,
    `held_out`, `seed` and `batch` go to the metrics that have such an option and do not set it. `facts` (of the sets)
    are added to the protocol, `subject` says what was judged. A `Kept` real set is summed up once for all calls.
    """
    asked = checked(metrics)
    draws = [Kept(one) for one in (fake, *more)]
    sides: dict[str, Any] = {
        "real": real,
        "fake": fake,
        **{f"more[{i}]": one for i, one in enumerate(more)},
        "held_out": held_out,
    }
    _readable(sides, again=len(asked) > 1 or intervals)
    real = real if isinstance(real, Kept) else Kept(real)
    held = None if held_out is None else held_out if isinstance(held_out, Kept) else Kept(held_out)
    judge = Classifier.load(classifier) if isinstance(classifier, str) else classifier
    shared: dict[str, Any] = {
        "batch": batch, "classifier": judge, "model": model, "seed": seed, "held_out": held, "features": None,
    }  # fmt: skip
    if any("features" in one.part.options and "features" not in one.own for one in asked):
        shared["features"] = build(features, lambda: spec_of(real))
    _move(shared, device)
    table = _Table(real, draws, held, shared, intervals)
    for one in asked:
        table.add(one)
    protocol = _protocol(table, facts or {})
    warnings = overlap_warnings(real, draws[0], held) if intervals else []
    return EvaluationReport(tuple(table.scores), protocol, dict(subject or {}), table.details, tuple(warnings))


def checked(metrics: Metrics) -> list[_Asked]:
    """The metrics and the options that were set; InputError with every fault."""
    if isinstance(metrics, str):
        metrics = [metrics]
    wanted = dict(metrics) if isinstance(metrics, Mapping) else {name: name for name in metrics}
    faults: list[str] = [] if wanted else ["no metric was asked for; give at least one, e.g. fd"]
    chosen = []
    for label, data in wanted.items():
        tree, found = registry.check("metric", data, label, {"use": label})
        faults += found
        given = set() if isinstance(data, str) else set(data)
        if not found:
            own = {k: v for k, v in tree.items() if k in given - {"use"}}
            chosen.append(_Asked(label, registry.metric.find(tree["use"]), own))
    if faults:
        raise InputError(faults)
    return chosen


def _readable(sides: Mapping[str, Any], *, again: bool) -> None:
    for name, side in sides.items():
        if again and side is not None and once(side):
            raise InputError(f"{name} is a stream and is read several times; give a tensor, a list or a data set")


def _move(shared: dict[str, Any], device: torch.device | str | None) -> None:
    """Networks to the device, where one was named."""
    if device is None:
        return
    for seen in (shared.get("features"), getattr(shared["classifier"], "features", None)):
        if seen is not None:
            seen.to(device)


class _Table:
    """Scores as they come in."""

    def __init__(
        self, real: Kept, draws: list[Kept], held: Kept | None, shared: Mapping[str, Any], intervals: bool
    ) -> None:
        self.real, self.draws, self.held, self.shared, self.intervals = real, draws, held, shared, intervals
        self.scores: list[Score] = []
        self.details: dict[str, Any] = {}
        self.options: dict[str, Any] = {}  # label -> what it was run with

    def add(self, one: _Asked) -> None:
        """Run a metric on every set of fakes and on the held-out reals; what it withholds is replaced by its betters."""
        answers = [self._run(one, fake) for fake in self.draws]
        floor = None if self.held is None or not one.about.floor else self._run(one, self.held)
        self.details[one.label] = answers[0] | ({} if floor is None else {"floor": floor})
        self.options[one.label] = {"use": one.part.name, **_plain_options(one)}
        alike = self._alike(one, answers, floor)
        for key in one.about.scores:
            self.scores.append(self._score(one, key, answers, floor, alike))
        if not all(a.get("valid", True) for a in answers):
            for name in INSTEAD:
                if name not in self.details and name in registry.metric.parts and one.part.name not in INSTEAD:
                    self.add(_Asked(name, registry.metric.find(name), {}))

    def _run(self, one: _Asked, fake: Source) -> dict[str, Any]:
        given = {k: v for k, v in self.shared.items() if k in one.part.options and v is not None}
        found: dict[str, Any] = one.part.fn(self.real, fake, **(given | one.own))
        return found

    def _alike(self, one: _Asked, answers: list[Answer], floor: Answer | None) -> list[Answer]:
        """With as few fakes as there are held-out reals: scores shrink or grow with the count, and only equals compare."""
        few = int((floor or {}).get("fake_count", 0))
        if not few or few >= int(answers[0].get("fake_count", 0)):
            return []
        return [self._run(one, head(fake, few)) for fake in self.draws]

    def _score(self, one: _Asked, key: str, answers: list[Answer], floor: Answer | None, alike: list[Answer]) -> Score:
        first = answers[0]
        names = first.get("names", {})
        name = names.get(key) or (first["name"] if "name" in first and len(one.about.scores) == 1 else key)
        valid = all(a.get("valid", True) for a in answers) and all(a.get(key) is not None for a in answers)
        values = [float(a[key]) for a in answers] if valid else []
        return Score(
            metric=one.label, key=key, name=name if one.label in (one.part.name, key) else f"{one.label}: {name}",
            value=sum(values) / len(values) if valid else None, better=one.about.scores[key],
            interval=self._interval(one, key, answers, values) if valid else None,
            floor=first.get("floors", {}).get(key) if floor is None else floor.get(key),
            floor_interval=self._floor_interval(one, key, floor),
            count=int(first.get("fake_count", 0)), floor_count=int((floor or {}).get("fake_count", 0)),
            at_floor_count=_mean([a.get(key) for a in alike]), note=first.get("warning", ""),
        )  # fmt: skip

    def _interval(self, one: _Asked, key: str, answers: list[Answer], values: list[float]) -> Interval | None:
        if not self.intervals or one.about.interval == "none":
            return None
        if len(values) > 1 and len(set(values)) > 1:  # one that does not look at the sets says the same of each
            return over_seeds(values)
        return self._of_one(one, key, self.draws[0], answers[0])

    def _floor_interval(self, one: _Asked, key: str, floor: dict[str, Any] | None) -> Interval | None:
        if floor is None or self.held is None or not self.intervals or not floor.get("valid", True):
            return None  # of too few samples: shown beside what as few fakes score, without an interval
        return None if floor.get(key) is None else self._of_one(one, key, self.held, floor)

    def _of_one(self, one: _Asked, key: str, fake: Kept, answer: dict[str, Any]) -> Interval | None:
        """Of one set: what the metric says itself, or a jackknife."""
        if one.about.interval == "own":
            own = answer.get("intervals", {}).get(key)
            return None if own is None else Interval(own[0], own[1], "own", int(answer.get("fake_count", 0)))
        count = answer.get("fake_count") or count_of(fake) or 0
        if one.about.interval == "none" or count < 2 * GROUPS:
            return None
        less = fake.sum_up(("less", one.label), lambda _: self._less(one, fake))
        values = [float(a[key]) for a in less if a.get(key) is not None]
        return jackknife(float(answer[key]), values) if len(values) == GROUPS else None

    def _less(self, one: _Asked, fake: Kept) -> list[Answer]:
        return [self._run(one, without(fake, j, GROUPS)) for j in range(GROUPS)]


def _mean(values: list[Any]) -> float | None:
    told = [float(v) for v in values if v is not None]
    return sum(told) / len(told) if told and len(told) == len(values) else None


def _plain_options(one: _Asked) -> dict[str, Any]:
    """Every option with its value, as far as JSON can say it; what evaluation supplies is said elsewhere."""
    plain = {}
    for name, option in one.part.options.items():
        value = one.own.get(name, option.default)
        if name not in ("batch", "classifier", "model", "held_out", "features") and _is_plain(value):
            plain[name] = value
    return plain


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, str | int | float | bool)


def _protocol(table: _Table, facts: Mapping[str, Any]) -> dict[str, Any]:
    seen, judge = table.shared["features"], table.shared["classifier"]
    said: dict[str, Any] = {
        "features": None if seen is None else seen.facts,
        "classifier": None if judge is None else {"name": "LeNet", "hash": judge.hash, "accuracy": judge.accuracy},
        "metrics": table.options,
        "seed": table.shared["seed"],
        "sets": len(table.draws),
    }
    for name, side in {"real": table.real, "fake": table.draws[0], "held_out": table.held}.items():
        said[name] = None if side is None else {"count": count_of(side), **dict(facts.get(name) or {})}
    return said
