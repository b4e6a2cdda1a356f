"""Held-out rows: chosen by what they contain, so the same tomorrow, on another machine, in another order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from gantlet.data.dataset import Array, Rows, Store

SHARE, LEAST, MOST = 0.05, 64, 5000  # and never more than a fifth of the set


def row_hash(row: Array) -> int:
    """64 bits of one row's shape and content."""
    mark = hashlib.blake2b(f"{row.shape}{row.dtype.str}".encode(), digest_size=8)
    mark.update(np.ascontiguousarray(row).data)
    return int.from_bytes(mark.digest(), "little")


def store_hashes(store: Store, block: int = 256) -> Array:
    """uint64 [rows] of a store, read in blocks."""
    n = store.shape[0]
    out = np.empty(n, np.uint64)
    for first in range(0, n, block):
        rows = store.take(np.arange(first, min(first + block, n)))
        out[first : first + len(rows)] = [row_hash(row) for row in rows]
    return out


def held_rows(hashes: Array) -> Array:
    """The rows to hold out, sorted int64: those of the smallest hashes, duplicates together.

    As many as 5 % (64 to 5,000), never more than a fifth, at least 1; none when that would leave fewer than two
    distinct rows to train on.
    """
    n = len(hashes)
    values, counts = np.unique(hashes, return_counts=True)
    spare = len(values) - 2
    if spare < 1:
        return np.empty(0, np.int64)
    want = max(1, min(max(round(n * SHARE), LEAST), MOST, n // 5))
    taken: list[int] = []
    total = 0
    for value, count in zip(values.tolist(), counts.tolist()):
        if total == want or len(taken) == spare:
            break
        if total + count <= want:
            taken.append(value)
            total += count
    if not taken:  # every group of duplicates is too large: the smallest
        taken = [int(values[counts.argmin()])]
    return np.flatnonzero(np.isin(hashes, np.array(taken, np.uint64))).astype(np.int64)


def split_rows(counts: Mapping[str, int], hashes: Array | None) -> dict[str, Rows]:
    """Named splits where they are named, a test split held out of train where there is none, and all.

    `counts` has the rows of each split ("" for none) in the order of the store; `hashes`, one a row, may be None when
    there is a test split.
    """
    out: dict[str, Rows] = {}
    start = 0
    for name, count in counts.items():
        out[name] = Rows(start, start + count)
        start += count
    rest = out.pop("", Rows(0, 0))
    out["all"] = Rows(0, start)
    pool = out.setdefault("train", rest)
    if "test" in out or hashes is None:
        return out
    held = held_rows(hashes[pool.start : pool.stop]) + pool.start
    out["train"] = Rows(pool.start, pool.stop, held)
    if len(held):
        out["test"] = Rows(pool.start, pool.stop, held, only=True)
    return out


def distinct_in(rows: Rows, hashes: Array) -> int:
    """How many different rows a split has."""
    return len(np.unique(hashes[rows.of(np.arange(len(rows)))]))
