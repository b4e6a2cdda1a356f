"""Endless keyed data: position p of the training is row permute(p mod N) of epoch p // N, whoever asks and whenever."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Spec
from gantlet.core.noise import key_of, uniform
from gantlet.data.dataset import Dataset, finish
from gantlet.data.order import permute, subkey


class Fetched(NamedTuple):
    """Rows read but not yet on the device."""

    first: int
    x: Tensor
    y: Tensor | None
    rows: Tensor


class Stream:
    """A data set in an order that depends on the seed alone; every epoch visits every row exactly once.

    balanced: every block of K positions shows each of the K classes once (rows of a rare class come round sooner);
    InputError where rows have no label.
    flip: mirror half of the images left to right, decided by position.
    """

    def __init__(self, dataset: Dataset, *, seed: int, flip: bool = False, balanced: bool = False) -> None:
        if len(dataset) == 0:
            raise InputError(f"{dataset.name}: the split {dataset.split!r} has no rows")
        self.dataset, self.seed = dataset, seed
        self.flip = flip and len(dataset.spec.shape) == 3
        self._classes = _rows_by_class(dataset) if balanced else []
        self._key = key_of(seed, "order")

    @property
    def spec(self) -> Spec:
        return self.dataset.spec

    def index(self, first: int, n: int) -> Tensor:
        """The rows at positions first .. first + n - 1, int64 [n]."""
        p = torch.arange(first, first + n, dtype=torch.int64)
        if self._classes:
            return self._balanced(p)
        size = len(self.dataset)
        return permute(p % size, size, key=subkey(self._key, p // size))

    def _balanced(self, p: Tensor) -> Tensor:
        k = len(self._classes)
        block = p // k  # how often each class was shown before
        which = permute(p % k, k, key=subkey(key_of(self.seed, "class"), block))
        out = torch.empty_like(p)
        for c in sorted(set(which.tolist())):
            at, rows = (which == c).nonzero().squeeze(1), self._classes[c]
            size, turn = len(rows), block[at]
            out[at] = rows[permute(turn % size, size, key=subkey(key_of(self.seed, "order", c), turn // size))]
        return out

    def fetch(self, first: int, n: int) -> Fetched:
        """The slow half of `take`: reads, and touches no device. Safe in a background thread."""
        index = self.index(first, n)
        return Fetched(first, self.dataset.read(index), self.dataset.labels_of(index), index)

    def finish(self, fetched: Fetched, device: torch.device) -> Batch:
        """The quick half of `take`: onto the device, to float, flipped."""
        batch = finish(fetched.x, fetched.y, fetched.rows, device)
        if not self.flip:
            return batch
        draw = uniform((1, 1, 1), len(batch.x), key=(self.seed, "flip"), first=fetched.first, device=batch.x.device)
        return batch._replace(x=torch.where(draw < 0.5, batch.x.flip(-1), batch.x))

    def take(self, first: int, n: int, device: torch.device) -> Batch:
        """The n rows at positions first, first + 1, ...; the same however they are cut into calls."""
        return self.finish(self.fetch(first, n), device)


def _rows_by_class(dataset: Dataset) -> list[Tensor]:
    labels = dataset.labels_array()
    if labels is None:
        raise InputError(f"{dataset.name}: there are no labels to balance by; use balanced=false")
    missing = int((labels < 0).sum())
    if missing:
        raise InputError(
            f"{dataset.name}: {missing:,} of {len(dataset):,} rows have no label and would never be shown; complete the "
            "labels, take the rows out, or use balanced=false"
        )
    rows = [(labels == c).nonzero().squeeze(1) for c in range(dataset.spec.classes)]
    return [r for r in rows if len(r)]
