"""What the tests of distances share: recorded oracles, a jackknife of any metric, how often intervals are right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from gantlet.core.noise import normal
from gantlet.metrics import Kept
from gantlet.metrics.interval import GROUPS, Interval, jackknife
from gantlet.metrics.sources import without

ORACLE: dict[str, Any] = json.loads((Path(__file__).parent / "oracle" / "distances.json").read_text(encoding="utf-8"))


def drawn(n: int, d: int, *key: int | str, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    """Gaussian points [n, d]."""
    return scale * normal((d,), n, key=("distances", *key)) + shift


def interval_of(score: Callable[[Any, Any], float], real: Any, fake: Kept) -> Interval:
    """Of a score, by leaving out groups of fakes as an evaluation does."""
    return jackknife(score(real, fake), [score(real, without(fake, j, GROUPS)) for j in range(GROUPS)])


def coverage(score: Callable[[Any, Any], float], real: Any, fakes: Callable[[int], Tensor], truth: float) -> float:
    """The share of 200 fresh sets of fakes whose interval holds the truth."""
    hits = 0
    for i in range(200):
        low, high = interval_of(score, real, Kept(fakes(i)))[:2]
        hits += low <= truth <= high
    return hits / 200
