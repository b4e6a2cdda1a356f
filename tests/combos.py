"""All parts side by side: each alone, and rows of them in which every pair that may meet does."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import parts as side_by_side
from helpers import Play
from parts import PARTS, Part, meets, refused


class Row(side_by_side.Row):
    """Parts that play together, as the tests play."""

    def play(self, seed: int = 0) -> Play:
        state, engine, data = self.begun(seed)
        return Play(state, engine, data, self.recipe())  # type: ignore[arg-type]


def pairs(parts: tuple[Part, ...]) -> Iterator[tuple[Part, Part]]:
    return itertools.combinations(sorted(parts), 2)


def covering() -> list[Row]:
    """A fixed covering array of strength 2: greedily, one loss, two penalties, two tricks, dynamics, optimiser a row."""
    left = {(a, b) for a, b in pairs(tuple(PARTS)) if meets(a, b) and refused((a, b)) is None}
    rows = []
    while left:
        row: tuple[Part, ...] = min(left)
        for kind in ("adversarial", "penalty", "penalty", "trick", "trick", "dynamics", "optimizer"):
            most = 2 if kind in ("penalty", "trick") else 1
            if sum(k == kind for k, _ in row) >= most:
                continue
            found = [p for p in PARTS if p[0] == kind and p not in row and _new(row, p, left)]
            found = [p for p in found if all(refused(tuple(sorted((p, q)))) is None for q in row)]
            if found:
                row = (*row, max(found, key=lambda p: (_new(row, p, left), p)))
        left -= set(pairs(row))
        rows.append(Row(tuple(sorted(row))))
    return rows


def _new(row: tuple[Part, ...], part: Part, left: set[tuple[Part, Part]]) -> int:
    return sum(tuple(sorted((part, other))) in left for other in row)
