"""What training reads from: rows by number, in the source's own numbers until they are on the device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gantlet.core.errors import InputError, nearest
from gantlet.core.game import Batch, Spec

Array = NDArray[Any]
_HALF = {torch.uint8: 127.5, torch.uint16: 32767.5}


def to_unit(x: Tensor) -> Tensor:
    """uint8 or uint16 -> float32 in -1..1 (v / 127.5 - 1, v / 32767.5 - 1); floats stay as they are, in float32."""
    half = _HALF.get(x.dtype)
    return x.to(torch.float32) if half is None else x.to(torch.float32).div_(half).sub_(1)


def to_uint(x: Tensor, dtype: torch.dtype = torch.uint8) -> Tensor:
    """The inverse of `to_unit`: float in -1..1 (clamped) -> the nearest uint8 or uint16."""
    half = _HALF[dtype]
    return ((x.to(torch.float32).clamp(-1, 1) + 1) * half).round().to(torch.int32).to(dtype)


class Dataset(ABC):
    """Rows of one split of a source, by number."""

    name: str  # the SOURCE as it was written
    split: str
    spec: Spec
    fingerprint: str  # of the content and of what was done to it
    class_names: tuple[str, ...] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: Tensor) -> Tensor:
        """The rows as they are stored: uint8, uint16 or float32 [N, *spec.shape], on the CPU. Safe in any thread."""

    @abstractmethod
    def labels_array(self) -> Tensor | None:
        """Every label, int64 [len(self)], -1 where one is missing; None without labels."""

    def labels_of(self, index: Tensor) -> Tensor | None:
        """The labels of these rows, int64 [N]."""
        labels = self.labels_array()
        return None if labels is None else labels[index]

    def rows(self, index: Tensor, device: torch.device | None = None) -> Batch:
        """These rows on the device, images as float32 in -1..1; `index` is int64 [N]."""
        return finish(self.read(index), self.labels_of(index), index, device)

    def with_split(self, split: str) -> Dataset:
        """The same source, another split."""
        if split != self.split:
            raise InputError(f"{self.name}: this data set is the split {self.split!r} and knows no split {split!r}")
        return self


def finish(x: Tensor, y: Tensor | None, index: Tensor, device: torch.device | None) -> Batch:
    """Stored rows -> a batch on the device: the small numbers travel, the floats are made there."""
    if device is None or device.type == "cpu":
        return Batch(to_unit(x), y, (), index)
    pin = device.type == "cuda"
    x = x if pin or x.dtype == torch.uint8 else to_unit(x)  # not every device knows uint16

    def move(t: Tensor) -> Tensor:
        return t.pin_memory().to(device, non_blocking=True) if pin else t.to(device)

    return Batch(to_unit(move(x)), None if y is None else move(y), (), move(index))


class Store(Protocol):
    """Rows in the source's numbers: what a file, an array or a decoder offers."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, *shape of one row)."""

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def take(self, rows: Array) -> Array:
        """A fresh array [N, *shape[1:]]."""


@dataclass(frozen=True)
class Rows:
    """Which rows of a store a split is: start..stop without the rows `held`, or those alone. Memory: the held-out."""

    start: int
    stop: int
    held: Array = field(default_factory=lambda: np.empty(0, np.int64))  # sorted
    only: bool = False

    def __len__(self) -> int:
        return len(self.held) if self.only else self.stop - self.start - len(self.held)

    def of(self, index: Array) -> Array:
        """Rows of the split -> rows of the store."""
        if self.only:
            return self.held[index]
        if not len(self.held):
            return index + self.start
        before = self.held - self.start - np.arange(len(self.held))  # rows of the split before each held-out row
        return index + self.start + np.searchsorted(before, index, side="right")


class Table(Dataset):
    """One split of a store of rows with labels: what every reader of files and arrays ends in."""

    def __init__(
        self,
        name: str,
        split: str,
        *,
        store: Store,
        splits: Mapping[str, Rows],
        fingerprint: str,
        labels: Array | None = None,
        class_names: tuple[str, ...] = (),
    ) -> None:
        if split not in splits:
            raise InputError(f"{name}: no split {split!r}; it has {', '.join(sorted(splits))}")
        self.name, self.split, self.fingerprint, self.class_names = name, split, fingerprint, class_names
        self._store, self._splits, self._all_labels = store, splits, labels
        self._rows = splits[split]
        self._labels = None if labels is None else torch.from_numpy(labels[self._rows.of(np.arange(len(self)))])
        classes = 0 if labels is None else max(len(class_names), int(labels.max(initial=-1)) + 1)
        shares = _shares(self._labels, classes)
        self.spec = Spec(tuple(store.shape[1:]), classes=classes, count=len(self._rows), shares=shares)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, index: Tensor) -> Tensor:
        return torch.from_numpy(self._store.take(self._rows.of(index.cpu().numpy())))

    def labels_array(self) -> Tensor | None:
        return self._labels

    @property
    def bits(self) -> int:
        """Bits of one stored number: 8, 16, or 32 for floats."""
        return self._store.dtype.itemsize * 8

    def with_split(self, split: str) -> Dataset:
        if split not in self._splits:
            raise InputError(f"{self.name}: no split {split!r}; {nearest(split, self._splits)}")
        return Table(
            self.name,
            split,
            store=self._store,
            splits=self._splits,
            fingerprint=self.fingerprint,
            labels=self._all_labels,
            class_names=self.class_names,
        )


def _shares(labels: Tensor | None, classes: int) -> tuple[float, ...]:
    """Of each class among the rows that have a label."""
    if labels is None or not classes:
        return ()
    counts = labels[labels >= 0].bincount(minlength=classes)
    return tuple((counts / counts.sum().clamp(min=1)).tolist())
