"""Several sources side by side as the splits of one: train.zip and test.zip, train.npz and test.npz."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from gantlet.data.containers import digest
from gantlet.data.dataset import Array
from gantlet.data.decode import Look
from gantlet.data.listing import Listing, settle
from gantlet.data.pictures import Pictures


class Several(Pictures):
    """Pictures of named splits, one after another; classes are the same where their names are."""

    def __init__(self, parts: Sequence[tuple[str, Pictures]]) -> None:
        self.kind = parts[0][1].kind
        self.fingerprint = digest("several", [(split, part.fingerprint) for split, part in parts])
        self._parts = parts

    @cached_property
    def _listings(self) -> list[Listing]:
        return [part.listing() for _, part in self._parts]

    @cached_property
    def _starts(self) -> Array:
        return np.concatenate([[0], np.cumsum([len(listing.names) for listing in self._listings])])

    @cached_property
    def _joined(self) -> Listing:
        names = [f"{split}: {name}" for (split, _), one in zip(self._parts, self._listings) for name in one.names]
        used = settle([split for split, _ in self._parts])
        splits = [split for split, one in zip(used, self._listings) for _ in one.names]
        return Listing(names, splits, *_joined_labels(self._listings))

    def listing(self) -> Listing:
        return self._joined

    def _at(self, row: int) -> tuple[Pictures, int]:
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._parts[part][1], row - int(self._starts[part])

    def look(self, row: int) -> Look:
        part, at = self._at(row)
        return part.look(at)

    def picture(self, row: int) -> Array:
        part, at = self._at(row)
        return part.picture(at)


def _joined_labels(listings: list[Listing]) -> tuple[Array | None, tuple[str, ...]]:
    """Labels by name over all parts; a part without labels counts as unlabelled."""
    names = tuple(dict.fromkeys(name for one in listings for name in one.class_names))
    if all(one.labels is None for one in listings):
        return None, ()
    number = {name: i for i, name in enumerate(names)}
    out = []
    for one in listings:
        given = np.full(len(one.names), -1) if one.labels is None else one.labels
        table = np.array([*(number[name] for name in one.class_names), -1])  # -1 finds the last
        out.append(table[given])
    return np.concatenate(out).astype(np.int64), names
