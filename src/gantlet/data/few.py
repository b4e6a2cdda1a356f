"""Few labels: every row without its label, and beside each a row of those that kept theirs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Spec
from gantlet.core.noise import key_of
from gantlet.data.dataset import Dataset
from gantlet.data.order import permute
from gantlet.data.stream import Fetched, Stream


class Both(NamedTuple):
    """Rows read but not yet on the device."""

    rows: Fetched
    kept: Fetched


class FewLabels:
    """A data set of which `labelled` rows keep their label, in an endless order that depends on the seed alone.

    A batch has x [N, ...] without labels (y is None), every row of the set once an epoch, and given = (x [N, ...], y
    int64 [N]): at each position one of the rows that kept theirs, each of them once before any comes again. Both are
    functions of the position, so ranks, micro-batches and a resume see the rows that the whole batch would.
    """

    def __init__(self, dataset: Dataset, *, labelled: int, seed: int, flip: bool = False) -> None:
        self.dataset, self.rows = dataset, rows_that_keep(dataset, labelled, seed=seed)
        self._all = Stream(dataset, seed=seed, flip=flip)
        self._few = Stream(Part(dataset, self.rows), seed=key_of(seed, "labelled"), flip=flip)

    @property
    def spec(self) -> Spec:
        return _beside(self.dataset.spec)

    def fetch(self, first: int, n: int) -> Both:
        """The slow half of `take`: reads, and touches no device. Safe in a background thread."""
        return Both(self._all.fetch(first, n), self._few.fetch(first, n))

    def finish(self, fetched: Both, device: torch.device) -> Batch:
        """The quick half of `take`."""
        batch, kept = self._all.finish(fetched.rows, device), self._few.finish(fetched.kept, device)
        assert kept.y is not None
        return batch._replace(y=None, given=(kept.x, kept.y))

    def take(self, first: int, n: int, device: torch.device) -> Batch:
        """The n rows at positions first, first + 1, ...; the same however they are cut into calls."""
        return self.finish(self.fetch(first, n), device)


class Part(Dataset):
    """Some rows of a split, by number."""

    def __init__(self, whole: Dataset, index: Tensor) -> None:
        self.whole, self.index = whole, index  # int64 [n]
        self.name, self.split, self.class_names = whole.name, whole.split, whole.class_names
        self.fingerprint = f"{key_of(whole.fingerprint, tuple(index.tolist())):016x}"
        self.spec = whole.spec._replace(count=len(index), shares=())

    def __len__(self) -> int:
        return len(self.index)

    def read(self, index: Tensor) -> Tensor:
        return self.whole.read(self.index[index])

    def labels_array(self) -> Tensor | None:
        labels = self.whole.labels_array()
        return None if labels is None else labels[self.index]


def played_few(dataset: Dataset, labelled: int) -> Spec:
    """The data as it is played: beside a sample, another one and its label. InputError where it cannot be."""
    _labels(dataset, labelled)
    return _beside(dataset.spec)


def rows_that_keep(dataset: Dataset, labelled: int, *, seed: int) -> Tensor:
    """Which rows keep their label, int64 [labelled], rising: as many of each class as there are, one at most apart.

    A class with too few rows gives all it has, and the others more. Rows that never had a label keep none. InputError
    where there are not so many labels, or fewer than one for each class.
    """
    labels, classes = _labels(dataset, labelled)
    order = permute(torch.arange(len(classes)), len(classes), key=key_of(seed, "labelled"))  # who gives one more
    found, turns = [], []
    for at, c in zip(order.tolist(), classes):
        rows = (labels == c).nonzero().squeeze(1)
        turn = torch.arange(len(rows))
        found.append(rows[permute(turn, len(rows), key=key_of(seed, "labelled", c))])
        turns.append(turn * len(classes) + at)
    return torch.cat(found)[torch.cat(turns).argsort()[:labelled]].sort().values


def _beside(spec: Spec) -> Spec:
    return spec._replace(given=(spec.shape, ()))


def _labels(dataset: Dataset, labelled: int) -> tuple[Tensor, list[int]]:
    """Every label, and the classes there are; InputError where so many cannot be kept."""
    labels = dataset.labels_array()
    if labels is None:
        raise InputError(f"labelled={labelled}: {dataset.name} has no labels to keep; see labels=true")
    present, classes = int((labels >= 0).sum()), torch.unique(labels[labels >= 0]).tolist()
    if labelled > present:
        raise InputError(f"labelled={labelled}: {dataset.name} has {present} rows with a label; keep at most so many")
    if labelled < len(classes):
        raise InputError(
            f"labelled={labelled}: {dataset.name} has {len(classes)} classes, and one without a label is never learned; "
            "keep at least one of each"
        )
    return labels, classes
