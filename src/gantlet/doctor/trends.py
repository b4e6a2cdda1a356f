"""How a vital went over the windows so far: what several detectors ask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from gantlet.doctor.finding import Seen


def critic(seen: Seen, name: str) -> str:
    """The full name of a vital of the critic's turn."""
    return f"{seen.about.critic}.{name}"


def generator(seen: Seen, name: str) -> str:
    """The full name of a vital of the generator's turn."""
    return f"{seen.about.generator}.{name}"


def player(seen: Seen, turn: str | None) -> str:
    """Who plays this turn."""
    return seen.about.players.get(turn or "", turn or "")


def since(seen: Seen, name: str, step: int) -> list[float]:
    """A vital in the windows that end at this step or later, oldest first; windows without it are left out."""
    found = (w.values.get(name, math.nan) for w in seen.windows if w.last >= step)
    return [v for v in found if not math.isnan(v)]


def before(seen: Seen, name: str, back: int = 1) -> float:
    """A vital `back` windows before the last; NaN where there is none."""
    return seen.windows[-1 - back].values.get(name, math.nan) if len(seen.windows) > back else math.nan


def length(seen: Seen) -> int:
    """Steps in the last window."""
    return seen.windows[-1].last - seen.windows[-1].first + 1 if seen.windows else 0


def rising(values: Sequence[float]) -> bool:
    """Is every value above the one before it?"""
    return len(values) > 1 and all(a < b for a, b in pairwise(values))
