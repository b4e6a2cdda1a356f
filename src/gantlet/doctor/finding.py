"""What a detector sees and says, and how one is registered.

A detector is a function of what was seen so far; its keyword-only parameters are its thresholds. Its docstring's first
paragraph says what is wrong and by what it shows, with the source; its second why it happens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gantlet.core.registry import finding
from gantlet.doctor.window import Window

RANKS = ("non-finite", "wiring", "data", "structure", "sign", "dynamics", "generalisation", "outcome")  # causes first


class Measure(NamedTuple):
    """One number and where it lies in a healthy training; None: no bound on that side."""

    name: str  # in words: "the critic's AUC"
    value: float
    low: float | None = None
    high: float | None = None
    vital: str = ""  # whose curve shows it
    unit: float = 1.0  # what 1 of it is on that curve, where it is a ratio, or a growth

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """The healthy band on the curve."""
        low, high = (None if bound is None else bound * self.unit for bound in (self.low, self.high))
        return low, high

    @property
    def behind(self) -> str:
        """What that curve is of, in words."""
        return self.name if self.unit == 1.0 else f"what is behind the {self.name}"


class Sign(NamedTuple):
    """What a detector found in the last window."""

    measures: tuple[Measure, ...]
    who: str = ""  # the player, weight or split it is about


class Remedy(NamedTuple):
    """What to do about it."""

    text: str
    change: tuple[str, ...] = ()  # as the command line takes it: `penalties.r1.gamma=4`; () where no option does it
    source: str = ""


@dataclass(frozen=True)
class About:
    """What training this is: fixed facts that a detector or a remedy may need."""

    batch: int = 64
    critic: str | None = None  # the turn whose logits are seen
    generator: str | None = None  # the turn that feels the fakes
    players: Mapping[str, str] = field(default_factory=dict)  # turn -> player
    tree: Mapping[str, Any] = field(default_factory=dict)  # the recipe's settings; {} where nobody wrote one
    shape: tuple[int, ...] = ()
    classes: int = 0
    count: int = 0  # rows of the training split; 0: endless
    batch_norm: bool = False  # does the critic look at other rows by a batch norm?
    statistic: bool = False  # ... or by design (minibatch statistics, packing)?
    ordered: bool = True  # does a higher logit mean a better sample?
    turned: Mapping[str, float] = field(default_factory=dict)  # player or penalty -> factor on what the recipe says

    def get(self, path: str, default: Any = None) -> Any:
        """The recipe's value at a dotted path."""
        value: Any = self.tree
        for key in path.split("."):
            if not isinstance(value, Mapping) or key not in value:
                return default
            value = value[key]
        return value


@dataclass(frozen=True)
class Seen:
    """Windows so far, oldest first; the last is now."""

    windows: Sequence[Window]
    about: About

    @property
    def step(self) -> int:
        return self.windows[-1].last if self.windows else 0

    def now(self, name: str) -> float:
        """A vital in the last window; NaN, which no comparison holds for, where it was not seen."""
        return self.windows[-1].values.get(name, math.nan) if self.windows else math.nan

    def d(self, name: str) -> float:
        """The same of the critic's turn."""
        return self.now(f"{self.about.critic}.{name}")

    def g(self, name: str) -> float:
        """The same of the generator's turn."""
        return self.now(f"{self.about.generator}.{name}")

    def past(self, name: str, most: int | None = None) -> list[float]:
        """A vital in the last `most` windows that have it, oldest first."""
        found = [v for w in self.windows if not math.isnan(v := w.values.get(name, math.nan))]
        return found if most is None else found[-most:]

    def measured(self, name: str) -> float:
        """What was measured now and then, the last time it was."""
        return next(iter(self.past(name, 1)), math.nan)


Detect = Callable[..., Sign | None]  # (seen, *, thresholds)
Prescribe = Callable[[Seen, Sign], Remedy | None]  # None: does not apply to this training


@dataclass(frozen=True)
class Detector:
    """A registered detector."""

    name: str
    rank: str
    detect: Detect
    remedies: tuple[Prescribe, ...]  # the first that applies is the one to try first
    hold: int  # windows in a row before it is believed
    warm: int  # steps before which it stays silent
    residual: bool = False  # does it explain only what no other of its rank does? it is named after them


DETECTORS: dict[str, Detector] = {}


def detects(
    rank: str, *remedies: Prescribe, hold: int = 2, warm: int = 0, residual: bool = False, name: str | None = None
) -> Callable[[Detect], Detect]:
    """Register a detector of this rank, with its remedies in the order in which to try them."""
    if rank not in RANKS:
        raise ValueError(f"no rank {rank!r}; the ranks are {', '.join(RANKS)}")

    def keep(fn: Detect) -> Detect:
        label = name or fn.__name__.replace("_", "-")
        DETECTORS[label] = Detector(label, rank, fn, remedies, hold, warm, residual)
        return finding(fn, label)

    return keep
