"""Arrays as stores of rows: in memory, rearranged as they are read, or one after another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gantlet.core.errors import InputError
from gantlet.data.dataset import Array, Store
from gantlet.data.listing import Say


@dataclass(frozen=True)
class Held:
    """An array in memory."""

    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def take(self, rows: Array) -> Array:
        out: Array = self.array[rows]
        return out


@dataclass(frozen=True)
class Arranged:
    """A store whose rows are reshaped (and cast) as they are read."""

    store: Store
    row: tuple[int, ...]
    dtype: np.dtype[Any]
    arrange: Callable[[Array], Array]

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.store.shape[0], *self.row)

    def take(self, rows: Array) -> Array:
        return np.ascontiguousarray(self.arrange(self.store.take(rows)), dtype=self.dtype)


@dataclass(frozen=True)
class Joined:
    """Stores one after another."""

    stores: Sequence[Store]

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(s.shape[0] for s in self.stores), *self.stores[0].shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.stores[0].dtype

    def take(self, rows: Array) -> Array:
        out: Array = np.empty((len(rows), *self.shape[1:]), self.dtype)
        first = 0
        for store in self.stores:
            here = (rows >= first) & (rows < first + store.shape[0])
            if here.any():
                out[here] = store.take(rows[here] - first)
            first += store.shape[0]
        return out


@dataclass(frozen=True)
class Part:
    """One array of a source: a split ("" for none), its rows and their labels."""

    split: str
    store: Store
    labels: Array | None = None


def arranged(where: str, store: Store, say: Say) -> Store:
    """Rows as [C, H, W] of uint8, uint16 or float32 in -1..1, or as float32 points [d]; InputError otherwise."""
    if len(store.shape) == 2:
        _refuse_endless(where, store)
        return Arranged(store, store.shape[1:], np.dtype(np.float32), lambda x: x)
    if len(store.shape) not in (3, 4):
        raise InputError(f"{where}: shape {store.shape}; needs [N, H, W], [N, C, H, W], [N, H, W, C] or points [N, d]")
    dtype = _stored_as(where, store)
    if len(store.shape) == 3:
        return Arranged(store, (1, *store.shape[1:]), dtype, lambda x: x[:, None])
    first, last = store.shape[1] in (1, 2, 3, 4), store.shape[3] in (1, 2, 3, 4)
    if not first and not last:
        raise InputError(f"{where}: shape {store.shape} has neither 1 to 4 channels second nor last")
    if first and last:
        say(f"{where}: shape {store.shape} can be read two ways: taken as [N, C, H, W]")
    if first:
        return Arranged(store, store.shape[1:], dtype, lambda x: x)
    _, height, width, channels = store.shape
    return Arranged(store, (channels, height, width), dtype, lambda x: x.transpose(0, 3, 1, 2))


BLOCK = 65_536  # rows looked at together


def _refuse_endless(where: str, store: Store) -> None:
    """InputError where a point holds NaN or infinity: one such row makes every weight NaN."""
    bad, place = 0, None
    for first in range(0, store.shape[0], BLOCK):
        rows = store.take(np.arange(first, min(first + BLOCK, store.shape[0])))
        if rows.dtype.kind in "fc" and not (finite := np.isfinite(rows)).all():
            row, column = (int(i) for i in np.argwhere(~finite)[0])
            place = place or f"row {first + row:,}, column {column} (both from 0) is {rows[row, column]}"
            bad += int((~finite.all(1)).sum())
    if bad:
        raise InputError(
            f"{where}: points must be finite; {place}; {bad:,} of {store.shape[0]:,} rows hold NaN or infinity: leave them "
            "out, as in x[np.isfinite(x).all(1)]"
        )


def _into_range(low: float, high: float) -> str:
    """The way out for floats of another range, or that are none."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "leave out the images that hold NaN or infinity"
    if low >= 0 and 1.001 < high <= 255:
        return "store them as uint8, or divide by 127.5 and take 1 away"
    return f"divide them by {max(-low, high):g}"


def _stored_as(where: str, store: Store) -> np.dtype[Any]:
    native = store.dtype.newbyteorder("=")
    if native in (np.uint8, np.uint16):
        return native
    if native.kind != "f":
        raise InputError(f"{where}: images of {native}; give uint8, uint16, or floats in -1..1")
    some = store.take(np.arange(min(256, store.shape[0])))
    if not np.isfinite(some).all() or abs(some).max(initial=0) > 1.001:
        low, high = float(some.min()), float(some.max())
        raise InputError(
            f"{where}: float images must be finite and in -1..1, found {low:g} to {high:g}; {_into_range(low, high)}"
        )
    return np.dtype(np.float32)
