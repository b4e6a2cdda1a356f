"""What each recipe scored in the zoo (docs/zoo.md): read from the file that `gantlet bench zoo --out` writes."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from gantlet.core.recipe import about_of


@cache
def measured() -> dict[str, dict[str, Any]]:
    """Recipe -> set, kd, fd, times (better than an untrained generator and the mean image), works, minutes, weights."""
    file = Path(__file__).with_suffix(".json")
    found: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


def facts_of(name: str) -> dict[str, Any]:
    """Everything that is known of a recipe, JSON-able: family, year, paper, use, and its measured score."""
    about = about_of(name)
    said = {} if about is None else about._asdict()
    return {**said, "measured": measured().get(name)}
