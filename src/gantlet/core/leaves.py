"""Options that are values: what a hint allows, and what is wrong with a value that it does not."""

from __future__ import annotations

import math
from functools import cache, reduce
from operator import or_
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from gantlet.core.when import Schedule

_SCHEDULE = set(get_args(Schedule))


def scheduled(hint: Any) -> bool:
    """May this option be a schedule? (Its hint is, or contains, `Schedule`.)"""
    arguments = get_args(hint)
    if get_origin(hint) is Annotated:
        return scheduled(arguments[0])
    return set(arguments) >= _SCHEDULE or any(scheduled(a) for a in arguments if get_origin(a) is Annotated)


def leaf(hint: Any, value: Any, path: str) -> tuple[Any, list[str]]:
    """The value as the hint has it, lists for tuples, and every fault; of a schedule's hint the plain-number side."""
    hint = _without_schedule(hint)
    if any(isinstance(v, bool) for v in _leaves(value)) and not _mentions(hint, bool):
        return None, [f"{path}: {value} is a yes or no, a {_say_type(hint)} is wanted"]
    endless = [f"{path}: {value} is not a finite number"]
    try:
        checked = _plain(_adapter(hint).validate_python(value))
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        return None, endless if _endless(value) else [f"{path}: {value!r}: {message[0].lower()}{message[1:]}"]
    return (None, endless) if _endless(checked) else (checked, [])  # `1e999` only overflows when it is read


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # the type carries a configuration of its own
        return TypeAdapter(hint)


def _leaves(value: Any) -> list[Any]:
    return [one for v in value for one in _leaves(v)] if isinstance(value, list | tuple) else [value]


def _endless(value: Any) -> bool:
    return any(isinstance(one, float) and not math.isfinite(one) for one in _leaves(value))


def _without_schedule(hint: Any) -> Any:
    """The plain-number side of a hint that also allows a schedule."""
    if not scheduled(hint):
        return hint
    arguments = get_args(hint)
    if get_origin(hint) is Annotated:
        return Annotated[(_without_schedule(arguments[0]), *arguments[1:])]
    if set(arguments) >= _SCHEDULE:
        return float | None if NoneType in arguments else float
    return reduce(or_, map(_without_schedule, arguments))


def _mentions(hint: Any, wanted: type) -> bool:
    return hint is wanted or hint is Any or any(_mentions(a, wanted) for a in get_args(hint) if a is not hint)


def _say_type(hint: Any) -> str:
    return {int: "whole number", float: "number", str: "text"}.get(hint, "value of another type")


def _plain(value: Any) -> Any:
    """Tuples to lists: what YAML and JSON give back."""
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value
