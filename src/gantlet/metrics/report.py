"""A number never travels alone: scores with intervals, what real data would score, and the protocol that made them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gantlet.core.errors import InputError
from gantlet.metrics.interval import Interval

VERSION = 1
UNKNOWN = "not recorded"


@dataclass(frozen=True)
class Score:
    """One number, named by its network, with its 95 % interval and its floor: what held-out real samples score."""

    metric: str  # label under which it was asked for
    key: str  # of the metric's answer
    name: str  # FD-LeNet, precision, ...
    value: float | None  # None: withheld, and `note` says why
    better: str  # "lower", "higher" or "neither"
    interval: Interval | None = None
    floor: float | None = None
    floor_interval: Interval | None = None
    count: int = 0  # of fakes, each time; of reals where a metric asks the model about those
    floor_count: int = 0  # of held-out reals
    at_floor_count: float | None = None  # the value with only as many fakes, where the held-out set is smaller
    note: str = ""


@dataclass(frozen=True)
class EvaluationReport:
    """Scores, and everything that must be equal for two of them to be compared.

    `protocol`: features and classifier (name, hash, size, resize rule, range), metrics with all options, real and fake
    sets (source, split, count, fingerprint, size, crop, seeds, truncation, weights), the floor's set. `subject`: what
    was judged. `details`: every metric's whole answer.
    """

    scores: tuple[Score, ...]
    protocol: dict[str, Any]
    subject: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Of the protocol: 12 hex digits; scores of equal ones may be compared."""
        return hashlib.sha256(json.dumps(self.protocol, sort_keys=True).encode()).hexdigest()[:12]

    def __getitem__(self, label: str) -> dict[str, Any]:
        """The whole answer of a metric."""
        if label not in self.details:
            raise InputError(f"this report has no {label!r}; it has {', '.join(self.details)}")
        found: dict[str, Any] = self.details[label]
        return found

    def score(self, name: str) -> Score:
        """By label, key or displayed name, the first that fits."""
        for one in self.scores:
            if name in (one.metric, one.key, one.name):
                return one
        raise InputError(f"this report has no score {name!r}; it has {', '.join(s.name for s in self.scores)}")

    def to_json(self) -> dict[str, Any]:
        """One JSON document."""
        return {
            "gantlet_evaluation": VERSION,
            "fingerprint": self.fingerprint,
            "subject": self.subject,
            "scores": [asdict(s) | {k: _plain(getattr(s, k)) for k in ("interval", "floor_interval")} for s in self.scores],
            "warnings": list(self.warnings),
            "protocol": self.protocol,
            "details": self.details,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EvaluationReport:
        """What `to_json` wrote; InputError for anything else, and for protocols that were edited."""
        if data.get("gantlet_evaluation") != VERSION:
            raise InputError(f"this is no evaluation of version {VERSION}; make it again with gantlet evaluate")
        try:
            scores = [
                Score(**{**s, **{k: s[k] and Interval(**s[k]) for k in ("interval", "floor_interval")}})
                for s in data["scores"]
            ]
            made = cls(tuple(scores), data["protocol"], data["subject"], data["details"], tuple(data["warnings"]))
            was = data["fingerprint"]
        except (KeyError, TypeError) as error:
            raise InputError(f"this evaluation is damaged ({error}); make it again with gantlet evaluate") from error
        if made.fingerprint != was:
            raise InputError("this report's protocol is not the one its fingerprint is of: the file was edited")
        return made

    @classmethod
    def load(cls, path: str | Path) -> EvaluationReport:
        """The report in a file."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: no report can be read there ({error})") from error
        return cls.from_json(data if isinstance(data, dict) else {})

    def table(self) -> list[list[str]]:
        """Rows of text: heading, then one score each; numbers in brackets are of `notes`."""
        rows = [["score", "value", "95 % interval", "floor", "better"]]
        notes = self.notes()
        for s in self.scores:
            reach = "" if s.interval is None else f"{s.interval.low:.4g} .. {s.interval.high:.4g}"
            value = "withheld" if s.value is None else f"{s.value:.4g}"
            mark = f" [{notes.index(s.note) + 1}]" if s.note else ""
            rows.append([s.name + mark, value, reach, _floor_text(s), s.better])
        return rows

    def notes(self) -> list[str]:
        """What the metrics had to say, each thing once."""
        return list(dict.fromkeys(s.note for s in self.scores if s.note))

    def lines(self) -> list[str]:
        """What the numbers are of, in a few lines."""
        real, fake, seen = (self.protocol.get(k) or {} for k in ("real", "fake", "features"))
        held = (self.protocol.get("held_out") or {}).get("count", 0)
        seeds, how = fake.get("seeds"), sorted({s.interval.how for s in self.scores if s.interval})
        said = [
            f"{self.subject.get('name', 'samples')}: {fake.get('count', '?'):,} samples"
            + (f" from each of {len(seeds)} seeds" if seeds and len(seeds) > 1 else "")
            + (f", truncated at {fake['truncation']:g}" if fake.get("truncation") is not None else ""),
            f"against {self.subject.get('real', 'the reference')}: {real.get('count', '?'):,} reals"
            + (f", and {held:,} held out for the floor" if held else ", none held out: no floor"),
        ]
        if seen:
            size = " x ".join(map(str, seen["size"])) or "as it is"
            said.append(f"features: {seen['name']} {seen['hash'][:16]}, {seen['dimension']} dimensions, input {size}")
        if how:
            said.append(f"intervals: {', '.join(WAYS[h] for h in how)}")
        return [*said, f"protocol: {self.fingerprint}", *(f"warning: {w}" for w in self.warnings)]


WAYS = {
    "seeds": "over independent sets of samples", "jackknife": "tenths of the samples left out",
    "own": "means over samples",
}  # fmt: skip


def _floor_text(s: Score) -> str:
    """The floor with its interval; where it is of fewer samples, what as few fakes score."""
    if s.floor is None:
        return ""
    reach = "" if s.floor_interval is None else f" ({s.floor_interval.low:.3g} .. {s.floor_interval.high:.3g})"
    if s.at_floor_count is None:
        return f"{s.floor:.4g}{reach}"
    return f"{s.floor:.4g}{reach} at n={s.floor_count:,}; fakes there {s.at_floor_count:.4g}"


def _plain(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else interval._asdict()


def compare(a: EvaluationReport, b: EvaluationReport) -> list[str]:
    """What differs between two protocols, a line each; empty where the scores may be compared."""
    return _differences(a.protocol, b.protocol)


def _differences(a: Any, b: Any, path: str = "") -> list[str]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        found = []
        for key in [*a, *(k for k in b if k not in a)]:
            found += _differences(a.get(key, UNKNOWN), b.get(key, UNKNOWN), f"{path}.{key}" if path else str(key))
        return found
    return [] if a == b else [f"{path}: {a} | {b}"]
