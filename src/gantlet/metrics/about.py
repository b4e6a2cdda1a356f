"""What a metric's answer means: which numbers are its scores, which way is better, how an interval is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
Better = Literal["lower", "higher", "neither"]
Way = Literal["jackknife", "own", "none"]


@dataclass(frozen=True)
class About:
    """Said by a metric of itself.

    `scores`: key of the answer -> which way is better; everything else in the answer is detail. `interval`: found by
    deleting groups of fakes ("jackknife"), given by the metric under "intervals" because its scores are means over
    samples ("own"), or not to be had ("none"). `floor`: do held-out reals in the fakes' place say what is reachable? A
    metric that says no may answer "floors" itself, for each score what a perfect generator has. `of_reals`: it asks the
    model about held-out reals and looks at no set of fakes; it gets all of them, once.
    """

    scores: Mapping[str, Better] = field(default_factory=dict)
    interval: Way = "jackknife"
    floor: bool = True
    paired: bool = False  # row i against row i
    of_reals: bool = False  # the answer's `real_count` says of how many


_ABOUT: dict[Callable[..., Any], About] = {}


def about(
    *, interval: Way = "jackknife", floor: bool = True, paired: bool = False, of_reals: bool = False, **scores: Better
) -> Callable[[F], F]:
    """Decorator, under `@registry.metric`: `@about(kd="lower")`."""

    def mark(fn: F) -> F:
        _ABOUT[fn] = About(scores, interval, floor, paired, of_reals)
        return fn

    return mark


def about_of(fn: Callable[..., Any]) -> About:
    """What a metric said of itself; nothing at all for one that did not."""
    return _ABOUT.get(fn, About())
