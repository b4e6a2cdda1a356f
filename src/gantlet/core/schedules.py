"""Schedules: numbers as pure functions of the step. `steps: null` means the length of the training; `after`: a step, or,
below 1, a share of those steps."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from gantlet.core.registry import schedule
from gantlet.core.when import Now

Steps = Annotated[int, Field(ge=1)] | None
Above = Annotated[float, Field(gt=0)]
Factor = Annotated[float, Field(ge=0)]
After = Annotated[int, Field(ge=0, strict=True)] | Annotated[float, Field(ge=0, lt=1)]


def _share(now: Now, after: int | float, steps: int | None) -> float:
    """How much of the way from `after` to `steps` is done, 0..1."""
    if steps is None:
        raise ValueError("a schedule outside a recipe needs `steps`")
    if isinstance(after, float):
        after = round(after * steps)
    return min(max((now.step - after) / max(steps - after, 1), 0.0), 1.0)


@schedule
def constant(now: Now, *, value: float) -> float:
    """The same number always."""
    return value


@schedule
def cosine(now: Now, *, start: float, end: float = 0.0, after: After = 0, steps: Steps = None) -> float:
    """From start to end along half a cosine (Loshchilov and Hutter 2017)."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * _share(now, after, steps)))


@schedule
def linear(now: Now, *, start: float, end: float = 0.0, after: After = 0, steps: Steps = None) -> float:
    """From start to end along a straight line that begins at step `after`."""
    return start + (end - start) * _share(now, after, steps)


@schedule
def exponential(now: Now, *, start: Above, end: Above = 1e-3, after: After = 0, steps: Steps = None) -> float:
    """From start to end by the same factor every step: as long from 1 to 0.1 as from 0.1 to 0.01."""
    return float(start * (end / start) ** _share(now, after, steps))


@schedule
def drop(
    now: Now, *, start: float, factor: Annotated[float, Field(ge=0)] = 0.1, every: Annotated[int, Field(ge=1)] = 10_000
) -> float:
    """start times factor to the number of whole periods gone by."""
    return float(start * factor ** (now.step // every))
