"""Parts from modules of the user's own: which modules they are, and what to say where one was not imported."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gantlet.core.registry import KINDS


def modules_of(tree: Any) -> list[str]:
    """The modules outside gantlet that registered the parts of a checked tree, in order; not a script or a notebook."""
    named = (part for kind in KINDS.values() for name in _used(tree) if (part := kind.parts.get(name)) is not None)
    found = dict.fromkeys(part.fn.__module__ for part in named)
    return [name for name in found if name.partition(".")[0] != "gantlet" and name != "__main__"]


def missing(modules: Any, faults: Iterable[str]) -> list[str]:
    """The faults of a file, and which of the modules that it names to add; no file may have code imported."""
    faults = list(faults)
    names = [name for name in modules if isinstance(name, str)] if isinstance(modules, list) else []
    absent = [name for name in names if name not in sys.modules]
    if faults and absent:
        faults.append(f"parts come from {', '.join(absent)}: add {given(absent)}, where it can be imported")
    return faults


def given(modules: Iterable[str]) -> str:
    """As the command line takes them."""
    return " ".join(f"--with {name}" for name in modules)


def _used(tree: Any) -> Iterator[str]:
    if isinstance(tree, Mapping):
        if isinstance(tree.get("use"), str):
            yield tree["use"]
        for value in tree.values():
            yield from _used(value)
