"""What gantlet says when it cannot go on: the value, the rule, the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence


class GantletError(Exception):
    """Something failed while running; the command line leaves with status 1."""

    status = 1


class InputError(GantletError):
    """What was asked for cannot be done as written; the command line leaves with status 2.

    Several faults of one input are reported together, a line each.
    """

    status = 2

    def __init__(self, faults: str | Sequence[str]) -> None:
        self.faults: list[str] = [faults] if isinstance(faults, str) else list(faults)
        super().__init__("\n".join(self.faults))


class NonFiniteError(GantletError):
    """A loss term or a gradient became NaN or infinite; the message names the first step, player and term."""


class StateError(GantletError):
    """A saved state cannot be used: damaged, or made by something else."""


def nearest(name: str, known: Iterable[str], also: Mapping[str, str] | None = None) -> str:
    """`did you mean ...?` for a name that is not among `known`, or what there is; `also`: what others call it."""
    names = sorted(known)
    if (here := (also or {}).get(name.lower())) is not None:
        return f"here that is {here}."
    if name.lower() in ("none", "off", "no", "false"):
        return f"to leave it out write null; known: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}."
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    if not names:
        return "there are none."
    shown = ", ".join(names[:12])
    return f"known: {shown}{', ...' if len(names) > 12 else ''}."
