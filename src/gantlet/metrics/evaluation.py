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
from gantlet.metrics.overlap import content_of, overlap_warnings
from gantlet.metrics.report import EvaluationReport, Score
from gantlet.metrics.sources import Kept, Source, once, rows_in, spec_of, without

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
    every_held: Source | None = None,
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
    With `held_out` (real samples that are not in `real`) every score has its floor; `every_held` are more of them, for
    metrics that ask the model about reals and not about fakes, `held_out` where they are not given. `features`,
    `classifier`, `model`, `held_out`, `seed` and `batch` go to the metrics that have such an option and do not set it.
    `facts` (of the sets) are added to the protocol, `subject` says what was judged. A `Kept` real set is summed up once
    for all calls.
    """
    asked = checked(metrics)
    draws = [one if isinstance(one, Kept) else Kept(one) for one in (fake, *more)]
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
    _move([shared["features"], getattr(judge, "features", None)], device)
    asked = [one._replace(own=_built(one, real, device)) for one in asked]
    table = _Table(real, draws, held, shared, intervals, {one.label for one in asked})
    table.every_held = held if every_held is None else every_held
    for one in asked:
        table.add(one)
    if len(table.refused) == len(asked):
        raise table.refused[0]
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


def _move(networks: Iterable[Features | None], device: torch.device | str | None) -> None:
    """Networks to the device, where one was named."""
    for seen in networks:
        if seen is not None and device is not None:
            seen.to(device)


def _built(one: _Asked, real: Kept, device: torch.device | str | None) -> Tree:
    """A metric's own options with its networks read once, not at every call."""
    own = dict(one.own)
    for name in own:
        slot = one.part.options[name].slot
        if slot is not None and slot.kind == "feature":
            own[name] = build(own[name], lambda: spec_of(real))
            _move([own[name]], device)
    if isinstance(own.get("classifier"), str):
        own["classifier"] = Classifier.load(own["classifier"])
    return own


class _Table:
    """Scores as they come in."""

    def __init__(
        self, real: Kept, draws: list[Kept], held: Kept | None, shared: Mapping[str, Any], intervals: bool,
        labels: set[str],
    ) -> None:  # fmt: skip
        self.real, self.draws, self.held, self.shared, self.intervals = real, draws, held, shared, intervals
        self.labels = labels  # everything that was asked for
        self.every_held: Source | None = held
        self.refused: list[InputError] = []
        self._less: dict[tuple[str, int], list[Answer]] = {}
        self.scores: list[Score] = []
        self.details: dict[str, Any] = {}
        self.options: dict[str, Any] = {}  # label -> what it was run with

    def add(self, one: _Asked, *, stands_in: bool = False) -> None:
        """Run a metric on every set of fakes and on the held-out reals; one that refuses leaves a note, not a ruin."""
        self.options[one.label] = {"use": one.part.name, **_plain_options(one)}
        try:
            self._add(one, stands_in)
        except InputError as error:
            self.refused.append(error)
            self.details[one.label] = {"refused": str(error)}
            for key, better in one.about.scores.items():
                self.scores.append(Score(one.label, key, key, None, better, note=" ".join(str(error).split())))

    def _add(self, one: _Asked, stands_in: bool) -> None:
        answers = [self._run(one, fake) for fake in (self.draws[:1] if one.about.of_reals else self.draws)]
        floor, alike = self._floor(one, answers)
        self.details[one.label] = answers[0] | ({} if floor is None else {"floor": floor})
        for key in one.about.scores:
            self.scores.append(self._score(one, key, answers, floor, alike))
        if not all(a.get("valid", True) for a in answers) and not stands_in:
            for name in INSTEAD:
                if name not in self.labels | self.details.keys():
                    own = {k: v for k, v in one.own.items() if k == "features"}
                    self.add(_Asked(name, registry.metric.find(name), own), stands_in=True)

    def _run(self, one: _Asked, fake: Source) -> Answer:
        shared = {**self.shared, **({"held_out": self.every_held} if one.about.of_reals else {})}
        given = {k: v for k, v in shared.items() if k in one.part.options and v is not None}
        found: Answer = one.part.fn(self.real, fake, **(given | one.own))
        return found

    def _floor(self, one: _Asked, answers: list[Answer]) -> tuple[Answer | None, list[Answer]]:
        """Held-out reals in the fakes' place, and the fakes again where those are fewer: only equal counts compare."""
        if self.held is None or not one.about.floor:
            return None, []
        fakes, reals = int(answers[0].get("fake_count", 0)), rows_in(self.held)
        try:
            floor = self._run(one, self._as_many(fakes))
        except InputError:  # too few for this metric
            return None, []
        few = reals < fakes and floor.get("valid", True)
        return floor, [self._run(one, fake.some(reals)) for fake in self.draws] if few else []

    def _as_many(self, count: int) -> Kept:
        """So many held-out reals, or all there are."""
        assert self.held is not None
        return self.held if not 0 < count < rows_in(self.held) else self.held.some(count)

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
            floor=_floor_value(first, floor, key), floor_interval=self._floor_interval(one, key, floor),
            count=_measured(one, first), floor_count=int((floor or {}).get("fake_count", 0)),
            at_floor_count=_mean([a.get(key) for a in alike]), note=_note(first, floor),
        )  # fmt: skip

    def _interval(self, one: _Asked, key: str, answers: list[Answer], values: list[float]) -> Interval | None:
        if not self.intervals or one.about.interval == "none":
            return None
        if len(values) > 1 and len(set(values)) > 1:  # one that does not look at the sets says the same of each
            return over_seeds(values)
        return self._of_one(one, key, self.draws[0], answers[0])

    def _floor_interval(self, one: _Asked, key: str, floor: dict[str, Any] | None) -> Interval | None:
        if floor is None or self.held is None or not self.intervals or not floor.get("valid", True):
            return None
        held = self._as_many(int(floor.get("fake_count", 0)))
        return None if floor.get(key) is None else self._of_one(one, key, held, floor)

    def _of_one(self, one: _Asked, key: str, fake: Kept, answer: dict[str, Any]) -> Interval | None:
        """Of one set: what the metric says itself, or a jackknife."""
        if one.about.interval == "own":
            own = answer.get("intervals", {}).get(key)
            return None if own is None else Interval(own[0], own[1], "own", _measured(one, answer))
        count = rows_in(fake)
        if one.about.interval == "none" or count < 2 * GROUPS:
            return None
        place = (one.label, id(fake))
        if place not in self._less:
            self._less[place] = [self._run(one, without(fake, j, GROUPS)) for j in range(GROUPS)]
        values = [float(a[key]) for a in self._less[place] if a.get(key) is not None]
        return jackknife(float(answer[key]), values) if len(values) == GROUPS else None


def _measured(one: _Asked, answer: Answer) -> int:
    """How many samples a score is of: fakes, or reals."""
    return int(answer.get("real_count" if one.about.of_reals else "fake_count", 0))


def _note(first: Answer, floor: Answer | None) -> str:
    few = (
        ""
        if floor is None or floor.get("valid", True)
        else f"no floor: {floor['fake_count']} held-out reals are too few"
    )
    return "; ".join(filter(None, [str(first.get("warning", "")), few]))


def _floor_value(first: Answer, floor: Answer | None, key: str) -> float | None:
    if floor is None:
        found: float | None = first.get("floors", {}).get(key)
        return found
    return floor.get(key) if floor.get("valid", True) else None


def _mean(values: list[Any]) -> float | None:
    told = [float(v) for v in values if v is not None]
    return sum(told) / len(told) if told and len(told) == len(values) else None


def _plain_options(one: _Asked) -> dict[str, Any]:
    """Every option with its value; a network of its own by its facts; what evaluation supplies is said elsewhere."""
    plain = {}
    for name, option in one.part.options.items():
        value = one.own.get(name, option.default)
        if isinstance(value, Features):
            plain[name] = value.facts
        elif isinstance(value, Classifier):
            plain[name] = {"hash": value.hash}
        elif name not in ("batch", "classifier", "model", "held_out", "features") and _is_plain(value):
            plain[name] = value
    return plain


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, str | int | float | bool)


def _protocol(table: _Table, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What must be equal: nothing of the place it was done at."""
    seen, judge = table.shared["features"], table.shared["classifier"]
    options = [registry.metric.find(o["use"]).options for o in table.options.values()]
    judged = judge is not None and any("classifier" in known for known in options)
    said: dict[str, Any] = {
        "features": None if seen is None else seen.facts,
        "classifier": {"name": "LeNet", "hash": judge.hash, "accuracy": judge.accuracy} if judged else None,
        "metrics": table.options,
        "seed": table.shared["seed"],
        "sets": [_count(draw, table, "fake_count") for draw in table.draws],
    }
    for name, side in {"real": table.real, "fake": table.draws[0], "held_out": table.held}.items():
        told = "real_count" if name == "real" else "fake_count"
        said[name] = None if side is None else {"count": _count(side, table, told), **dict(facts.get(name) or {})}
        if side is not None and name != "fake" and table.intervals:
            said[name]["content"] = content_of(side)
    return said


def _count(side: Kept, table: _Table, told: str) -> int | None:
    """How many samples there are; of a stream that is gone, what a metric counted."""
    if not once(side):
        return rows_in(side)
    details = ((registry.metric.find(table.options[label]["use"]), answer) for label, answer in table.details.items())
    return next((said[told] for metric, said in details if told in said and not about_of(metric.fn).of_reals), None)
