"""Time, as pure functions of a host-side record: nothing here is ever saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Now(NamedTuple):
    """Where training stands. Host integers only: reading them never waits for a device."""

    step: int = 0
    images: int = 0  # real images shown so far, over all ranks
    seed: int = 0
    rank: int = 0
    play: int = 0  # how often a batch was drawn before in this step: its noise differs
    first: int = 0  # row of the joint batch (all ranks, all micro-batches) at which this slice begins


Schedule = float | Callable[[Now], float]
When = Callable[[Now], bool]


def at(value: Schedule, now: Now) -> float:
    """The value of a schedule now; a plain number is its own schedule."""
    return float(value(now)) if callable(value) else value


def always(now: Now) -> bool:
    """Every step."""
    return True


def every(interval: int, *, offset: int = 0) -> When:
    """Steps 0, k, 2k, ... (plus `offset`)."""
    if interval < 1:
        raise ValueError(f"every({interval}): the interval must be at least 1")
    return lambda now: now.step % interval == offset % interval


def before(step: int) -> When:
    """Steps below `step`."""
    return lambda now: now.step < step


def since(step: int) -> When:
    """Steps from `step` on."""
    return lambda now: now.step >= step
