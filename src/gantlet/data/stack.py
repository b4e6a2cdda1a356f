"""A source that is arrays already: read as it is where nothing is to be changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from gantlet.core.errors import InputError
from gantlet.data.cache import DiskFull, Entry
from gantlet.data.containers import digest
from gantlet.data.dataset import Array, Rows, Store
from gantlet.data.decode import Look
from gantlet.data.holdout import distinct_in, row_hash, split_rows, store_hashes
from gantlet.data.listing import ORDER, Listing, Say, settle
from gantlet.data.pictures import Pictures, Request
from gantlet.data.prepare import Prepared, prepare
from gantlet.data.stores import Joined, Part, arranged

_WORTH_KEEPING = 16 << 20  # bytes from which the hashes of the rows are kept in the cache


class Stack(Pictures):
    """Arrays of one row shape; read as they are where nothing is to be changed."""

    def __init__(self, kind: str, fingerprint: str, where: str, parts: Sequence[Part], say: Say) -> None:
        self.kind, self.fingerprint, self._where = kind, fingerprint, where
        splits = settle([p.split for p in parts])
        parts = [Part(s, arranged(where, p.store, say), p.labels) for s, p in zip(splits, parts)]
        self.parts = sorted(parts, key=lambda p: ORDER[p.split])
        shapes = {p.store.shape[1:] for p in self.parts}
        if len(shapes) != 1:
            raise InputError(f"{where}: its arrays differ in shape: {sorted(shapes)}")
        self.store = Joined([p.store for p in self.parts]) if len(self.parts) > 1 else self.parts[0].store
        if not self.store.shape[0]:
            raise InputError(f"{where}: the array has no rows (shape {self.store.shape})")

    @property
    def images(self) -> bool:
        return len(self.store.shape) == 4

    def listing(self) -> Listing:
        splits = [p.split for p in self.parts for _ in range(p.store.shape[0])]
        labels, names = self._labels()
        return Listing(Numbered(len(splits)), splits, labels, names)

    def _labels(self) -> tuple[Array | None, tuple[str, ...]]:
        if not any(p.labels is not None for p in self.parts):
            return None, ()
        given = [np.full(p.store.shape[0], -1) if p.labels is None else _classes(self._where, p) for p in self.parts]
        labels = np.concatenate(given).astype(np.int64)
        return labels, tuple(str(i) for i in range(int(labels.max()) + 1))

    def look(self, row: int) -> Look:
        channels, height, width = self.store.shape[1:]
        return Look(height, width, channels, self.store.dtype.itemsize * 8, str(self.store.dtype))

    def picture(self, row: int) -> Array:
        planes: Array = self.store.take(np.array([row]))[0]
        return planes.transpose(1, 2, 0)

    def prepare(self, request: Request, where: str, say: Say) -> Prepared:
        """As it is when that is what was asked for, otherwise through the cache like any pictures."""
        if self.images and not self._as_asked(request):
            return prepare(self, request, where, say)
        if not self.images and (request.size or request.channels):
            raise InputError(f"{where}: these are points of {self.store.shape[1:]}, size= and channels= are for images")
        labels, names = self._labels()
        splits, distinct = self._splits()
        return Prepared(self.store, splits, digest(self.fingerprint, "as it is"), labels, names, distinct)

    def _as_asked(self, request: Request) -> bool:
        channels, *sides = self.store.shape[1:]
        return request.sides in (None, tuple(sides)) and request.channels in (None, channels)

    def _splits(self) -> tuple[dict[str, Rows], int]:
        """The splits, and whether there are 1 or at least 2 different rows to train on."""
        counts: Counter[str] = Counter()
        for part in self.parts:
            counts[part.split] += part.store.shape[0]
        if "test" in counts:
            return split_rows(counts, None), _one_or_two(self.parts[0].store)
        hashes = self.hashes()
        splits = split_rows(counts, hashes)
        return splits, distinct_in(splits["train"], hashes)

    def hashes(self) -> Array:
        """uint64 per row, kept in the cache where computing them takes a while."""
        size = int(np.prod(self.store.shape)) * self.store.dtype.itemsize
        if size < _WORTH_KEEPING:
            return store_hashes(self.store)
        entry = Entry(digest("hashes", self.fingerprint))
        if entry.meta() is not None:
            return entry.side("hashes")
        hashes = store_hashes(self.store)
        try:
            entry.save_side("hashes", hashes)
            entry.close({})
        except DiskFull:
            return hashes  # they are computed again next time
        return hashes


def _one_or_two(store: Store) -> int:
    first = row_hash(store.take(np.array([0]))[0])
    for start in range(1, store.shape[0], 64):
        rows = store.take(np.arange(start, min(start + 64, store.shape[0])))
        if any(row_hash(row) != first for row in rows):
            return 2
    return 1


def _classes(where: str, part: Part) -> Array:
    labels: Array = np.asarray(part.labels)
    if labels.ndim == 2 and labels.shape[1] > 1 and set(np.unique(labels)) <= {0, 1}:
        labels = labels.argmax(1)  # one-hot
    labels = labels.reshape(len(labels), -1)
    if labels.shape != (part.store.shape[0], 1):
        raise InputError(f"{where}: {part.store.shape[0]} rows but labels of shape {np.asarray(part.labels).shape}")
    if labels.dtype.kind not in "iub" and not np.array_equal(labels, labels.round()):
        raise InputError(f"{where}: labels of {labels.dtype}; classes are whole numbers from 0")
    if labels.min() < -1:
        raise InputError(f"{where}: labels begin at {labels.min()}; classes are whole numbers from 0 (-1: no label)")
    return labels[:, 0].astype(np.int64)


class Numbered(Sequence[str]):
    """`row 0`, `row 1`, ...: names nobody stores."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: Any) -> Any:
        return f"row {range(self._count)[row]}"
