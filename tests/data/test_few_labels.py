"""Few labels: which rows keep theirs, in which order they come, and what cannot be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gantlet.core.errors import InputError
from gantlet.core.game import Batch
from gantlet.core.noise import key_of
from gantlet.data import Dataset, Prefetch, open_source
from gantlet.data.dataset import Rows, Table
from gantlet.data.few import FewLabels, rows_that_keep

CPU = torch.device("cpu")


def table(labels: list[int], name: str = "table") -> Dataset:
    """Rows that are their own number."""
    store = np.arange(len(labels), dtype=np.float32)[:, None]
    return Table(name, "train", store=_Store(store), splits={"train": Rows(0, len(labels))}, fingerprint=name,
                 labels=np.array(labels))  # fmt: skip


class _Store:
    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.shape, self.dtype = rows, rows.shape, rows.dtype

    def take(self, rows: np.ndarray) -> np.ndarray:
        return self.rows[rows]


@pytest.mark.parametrize(("labelled", "wanted"), [(30, [10] * 3), (31, [10, 10, 11]), (32, [10, 11, 11]), (3, [1] * 3)])
def test_as_many_of_each_class_as_can_be(labelled: int, wanted: list[int]) -> None:
    data = table([i % 3 for i in range(99)])
    rows = rows_that_keep(data, labelled, seed=0)
    assert sorted((rows % 3).bincount().tolist()) == wanted
    assert rows.unique().numel() == labelled
    assert torch.equal(rows, rows.sort().values)


def test_a_rare_class_gives_all_it_has_and_rows_without_a_label_none() -> None:
    labels = [0] * 40 + [1] * 2 + [2] * 40 + [-1] * 18
    rows = rows_that_keep(table(labels), 22, seed=5)
    assert torch.tensor(labels)[rows].bincount().tolist() == [10, 2, 10]
    assert rows_that_keep(table(labels), 82, seed=5).tolist() == list(range(82))


def test_the_seed_chooses() -> None:
    data = open_source("digits")
    first, again, other = (rows_that_keep(data, 50, seed=s) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    nested = rows_that_keep(data, 60, seed=1)  # more labels are the same ones and others
    assert set(first.tolist()) <= set(nested.tolist())
    often = torch.stack([torch.bincount(rows_that_keep(data, 500, seed=s), minlength=len(data)) for s in range(25)])
    assert number_of_rows(often) > 0.98 * len(data)  # every row has its chance


def number_of_rows(often: torch.Tensor) -> int:
    return int((often.sum(0) > 0).sum())


def few(**options: bool) -> FewLabels:
    return FewLabels(open_source("digits"), labelled=20, seed=3, **options)


def same(a: Batch, b: Batch) -> bool:
    assert a.index is not None and b.index is not None
    return all(torch.equal(s, t) for s, t in zip((a.x, a.index, *a.given), (b.x, b.index, *b.given), strict=True))


def joined(parts: list[Batch]) -> Batch:
    given = tuple(torch.cat(g) for g in zip(*(p.given for p in parts), strict=True))
    return Batch(
        torch.cat([p.x for p in parts]), None, given, torch.cat([p.index for p in parts if p.index is not None])
    )


@pytest.mark.parametrize("flip", [False, True])
def test_a_batch_is_the_same_however_it_is_cut(flip: bool) -> None:
    """Ranks, micro-batches, a resume and reading ahead see the rows that the whole batch would."""
    data = few(flip=flip)
    whole = data.take(1690, 64, CPU)  # across the end of an epoch of either
    assert same(whole, joined([data.take(1690 + 16 * rank, 16, CPU) for rank in range(4)]))
    assert same(whole, joined([whole.rows(0, 5), whole.rows(5, 64)]))
    ahead = Prefetch(few(flip=flip))
    try:
        assert all(same(ahead.take(p, 8, CPU), data.take(p, 8, CPU)) for p in range(0, 64, 8))
    finally:
        ahead.close()


def test_the_few_come_round_once_each_and_the_many_without_their_labels() -> None:
    data = few()
    whole = data.take(0, 60, CPU)
    x, y = whole.given
    kept = data.dataset.rows(data.rows)
    assert whole.y is None
    for block in range(3):
        shown = x[20 * block : 20 * block + 20].flatten(1)
        assert {tuple(r) for r in shown.tolist()} == {tuple(r) for r in kept.x.flatten(1).tolist()}
    assert not torch.equal(x[:20], x[20:40])  # in another order
    by_row = {tuple(r): int(label) for r, label in zip(kept.x.flatten(1).tolist(), kept.y)}
    assert [by_row[tuple(r)] for r in x.flatten(1).tolist()] == y.tolist()
    index = data.take(0, len(data.dataset), CPU).index
    assert index is not None and torch.equal(index.sort().values, torch.arange(len(data.dataset)))
    assert (data.spec.given, data.spec.classes, data.spec.count) == (((1, 8, 8), ()), 10, len(data.dataset))


def test_the_few_are_not_in_the_order_of_the_many() -> None:
    assert key_of(3, "labelled") != 3
    data = FewLabels(open_source("digits"), labelled=len(open_source("digits")), seed=3)
    batch = data.take(0, 200, CPU)
    assert not torch.equal(batch.given[0], batch.x)


def test_what_cannot_be_kept_is_refused() -> None:
    with pytest.raises(InputError, match=r"labelled=10: digits has no labels to keep"):
        FewLabels(open_source("digits", labels=False), labelled=10, seed=0)
    with pytest.raises(InputError, match=r"labelled=9: table has 6 rows with a label; keep at most so many"):
        rows_that_keep(table([0, 1, 2, 0, 1, 2, -1, -1]), 9, seed=0)
    with pytest.raises(InputError, match=r"labelled=2: table has 3 classes.*keep at least one of each"):
        rows_that_keep(table([0, 1, 2, 0]), 2, seed=0)
