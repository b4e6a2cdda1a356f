"""Judging windows one after the other: which findings hold, since when, and which of them is the cause of the others."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gantlet.doctor.finding import DETECTORS, RANKS, About, Detector, Remedy, Seen, Sign
from gantlet.doctor.window import Window


@dataclass
class Finding:
    """Something wrong that held for as many windows as it has to."""

    detector: Detector
    sign: Sign  # as it was seen last
    first: int  # step at the end of the window that first showed it
    believed: int  # step at which it had held for long enough
    last: int  # step at which it was seen last
    remedies: tuple[Remedy, ...] = ()

    @property
    def name(self) -> str:
        return self.detector.name

    @property
    def what(self) -> str:
        """The first paragraph of the detector's docstring."""
        return _paragraph(self.detector, 0)

    @property
    def why(self) -> str:
        """The second."""
        return _paragraph(self.detector, 1)

    def to_json(self) -> dict[str, Any]:
        return {
            "finding": self.name,
            "rank": self.detector.rank,
            "who": self.sign.who,
            "first_step": self.first,
            "believed_step": self.believed,
            "last_step": self.last,
            "what": self.what,
            "why": self.why,
            "evidence": [m._asdict() for m in self.sign.measures],
            "remedies": [r._asdict() for r in self.remedies],
        }


@dataclass
class Diagnosis:
    """The state of a training: what was found so far, and what holds now."""

    about: About
    windows: list[Window] = field(default_factory=list)
    found: dict[str, Finding] = field(default_factory=dict)
    _streaks: dict[str, tuple[int, int]] = field(default_factory=dict)  # name -> windows in a row, first step

    @classmethod
    def of(cls, about: About, windows: Iterable[Window]) -> Diagnosis:
        """What one would have found who watched these windows go by."""
        made = cls(about)
        for window in windows:
            made.see(window)
        return made

    def see(self, window: Window) -> list[Finding]:
        """Judge one more window; answers what is believed from now on and was not before."""
        self.windows.append(window)
        seen = Seen(self.windows, self.about)
        return [new for detector in DETECTORS.values() if (new := self._judge(detector, seen)) is not None]

    def _judge(self, detector: Detector, seen: Seen) -> Finding | None:
        sign = detector.detect(seen) if seen.step >= detector.warm else None
        if sign is None:
            self._streaks.pop(detector.name, None)
            return None
        count, first = self._streaks.get(detector.name, (0, seen.step))
        self._streaks[detector.name] = (count + 1, first)
        known = self.found.get(detector.name)
        if known is not None:
            if count + 1 >= detector.hold:
                known.sign, known.last = sign, seen.step
            return None
        if count + 1 < detector.hold:
            return None
        remedies = tuple(r for prescribe in detector.remedies if (r := prescribe(seen, sign)) is not None)
        self.found[detector.name] = Finding(detector, sign, first, seen.step, seen.step, remedies)
        return self.found[detector.name]

    @property
    def ordered(self) -> list[Finding]:
        """Causes before consequences, then by when they were first seen; last in its rank what explains only the rest."""
        return sorted(self.found.values(), key=lambda f: (RANKS.index(f.detector.rank), f.detector.residual, f.first))

    @property
    def cause(self) -> Finding | None:
        """What most likely brought about the rest; None: nothing was found."""
        return next(iter(self.ordered), None)

    @property
    def holding(self) -> list[Finding]:
        """What the last window still shows."""
        step = self.windows[-1].last if self.windows else 0
        return [f for f in self.ordered if f.last == step]

    def to_json(self) -> dict[str, Any]:
        holding = [f.name for f in self.holding]
        return {
            "step": self.windows[-1].last if self.windows else 0,
            "healthy": not holding,
            "cause": next(iter(holding), None),
            "holding": holding,
            "findings": [f.to_json() for f in self.ordered],
        }


def series(windows: Sequence[Window], name: str) -> tuple[list[int], list[float]]:
    """The curve of a vital: steps and values, where it was seen."""
    pairs = [(w.last, w.values[name]) for w in windows if w.values.get(name) == w.values.get(name) and name in w.values]
    return [s for s, _ in pairs], [v for _, v in pairs]


def _paragraph(detector: Detector, index: int) -> str:
    parts = (inspect.getdoc(detector.detect) or "").split("\n\n")
    return " ".join(parts[index].split()) if index < len(parts) else ""
