"""Laws of the order: a bijection, even, the same however it is asked for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gantlet.core.errors import InputError
from gantlet.core.game import Batch
from gantlet.data import Prefetch, Stream, open_source, permute
from gantlet.data.few import Part
from gantlet.data.order import subkey

CPU = torch.device("cpu")


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 16, 17, 64, 97, 255, 256, 257, 1797, 7919, 65537])
def test_permute_is_a_bijection(n: int) -> None:
    out = permute(torch.arange(n), n, key=n)
    assert torch.equal(out.sort().values, torch.arange(n))


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 3000), key=st.integers(-(2**63), 2**63 - 1))
def test_permute_is_a_bijection_for_any_key(n: int, key: int) -> None:
    assert torch.equal(permute(torch.arange(n), n, key=key).sort().values, torch.arange(n))


def test_permute_asks_only_for_what_it_is_asked() -> None:
    whole = permute(torch.arange(1000), 1000, key=5)
    some = torch.tensor([999, 0, 500, 500])
    assert torch.equal(permute(some, 1000, key=5), whole[some])
    huge = 10**15 + 37
    out = permute(torch.tensor([0, 1, huge - 1]), huge, key=5)
    assert out.unique().numel() == 3 and int(out.min()) >= 0 and int(out.max()) < huge


@pytest.mark.parametrize("n", [2, 3, 7, 16])
def test_permute_is_even(n: int) -> None:
    """Over many keys every position meets every row about equally often (chi-squared, 6 sigma)."""
    trials = 3000
    keys = subkey(11, torch.arange(trials)).repeat_interleave(n)
    out = permute(torch.arange(n).repeat(trials), n, key=keys).view(trials, n)
    counts = torch.stack([(out == row).sum(0) for row in range(n)]).double()
    chi = ((counts - trials / n) ** 2 / (trials / n)).sum()
    freedom = (n - 1) ** 2
    assert float(chi) < freedom + 6 * (2 * freedom) ** 0.5


def test_neighbours_do_not_stay_neighbours() -> None:
    out = permute(torch.arange(10_000), 10_000, key=3)
    assert float(((out[1:] - out[:-1]).abs() <= 1).double().mean()) < 0.002
    assert abs(float(torch.corrcoef(torch.stack([out.double(), torch.arange(10_000).double()]))[0, 1])) < 0.05


def stream(**options: bool) -> Stream:
    return Stream(open_source("digits"), seed=3, **options)


def same(a: Batch, b: Batch) -> bool:
    assert a.y is not None and b.y is not None and a.index is not None and b.index is not None
    return torch.equal(a.x, b.x) and torch.equal(a.y, b.y) and torch.equal(a.index, b.index)


def joined(parts: list[Batch]) -> Batch:
    ys, rows = [p.y for p in parts if p.y is not None], [p.index for p in parts if p.index is not None]
    return Batch(torch.cat([p.x for p in parts]), torch.cat(ys), (), torch.cat(rows))


@pytest.mark.parametrize("options", [{}, {"flip": True}, {"balanced": True}, {"flip": True, "balanced": True}])
def test_a_batch_is_the_same_however_it_is_cut(options: dict[str, bool]) -> None:
    data = stream(**options)
    whole = data.take(1690, 64, CPU)  # across the end of an epoch
    assert same(whole, joined([data.take(1690 + 16 * rank, 16, CPU) for rank in range(4)]))
    assert same(whole, joined([data.take(1690, 1, CPU), data.take(1691, 63, CPU)]))


def test_every_epoch_visits_every_row_once_in_another_order() -> None:
    data = stream()
    n = len(data.dataset)
    epochs = [data.index(e * n, n) for e in range(3)]
    assert all(torch.equal(e.sort().values, torch.arange(n)) for e in epochs)
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], Stream(data.dataset, seed=4).index(0, n))


def test_balanced_blocks_show_every_class_once() -> None:
    data = stream(balanced=True)
    y = data.take(70, 500, CPU).y
    assert y is not None
    assert torch.equal(y.view(50, 10).sort(1).values, torch.arange(10).expand(50, 10))
    assert len(set(map(tuple, y.view(50, 10).tolist()))) > 40  # in changing order
    rows = data.index(0, 10 * len(data.dataset))
    assert rows.unique().numel() == len(data.dataset)


def test_flips_are_half_of_the_images_and_points_are_not_flipped() -> None:
    plain, flipped = stream().take(0, 400, CPU).x, stream(flip=True).take(0, 400, CPU).x
    changed = (plain != flipped).flatten(1).any(1)
    assert 150 < int(changed.sum()) < 250
    assert torch.equal(plain[changed].flip(-1), flipped[changed])
    toy = open_source("toy:ring")
    assert torch.equal(Stream(toy, seed=0, flip=True).take(0, 9, CPU).x, Stream(toy, seed=0).take(0, 9, CPU).x)


def test_balancing_without_labels_is_refused() -> None:
    with pytest.raises(InputError, match="no labels to balance by"):
        Stream(open_source("digits", labels=False), seed=0, balanced=True)

    class Gaps(Part):
        def labels_array(self) -> torch.Tensor:
            return torch.tensor([0, -1, 1, -1, -1, 2])

    with pytest.raises(InputError, match=r"3 of 6 rows have no label and would never be shown; .* balanced=false"):
        Stream(Gaps(open_source("digits"), torch.arange(6)), seed=0, balanced=True)


class Counting:
    """A stream that remembers what it was asked."""

    def __init__(self) -> None:
        self.inner, self.calls = stream(flip=True), [0]
        self.spec = self.inner.spec

    def take(self, first: int, n: int, device: torch.device) -> Batch:
        self.calls.append(first)
        if first > 10_000:
            raise ValueError("the disk is gone")
        return self.inner.take(first, n, device)


@pytest.mark.parametrize("starts", [range(0, 320, 32), range(16, 640, 64), [0, 0, 32, 32, 64], [500, 20, 52, 7]])
def test_prefetch_changes_nothing(starts: list[int]) -> None:
    for inner in (stream(flip=True), Counting()):
        ahead = Prefetch(inner, ahead=2)
        assert ahead.spec == inner.spec
        assert all(same(ahead.take(s, 32, CPU), stream(flip=True).take(s, 32, CPU)) for s in starts)
        ahead.close()


def test_prefetch_reads_ahead_with_the_stride_of_the_ranks() -> None:
    data = Counting()
    ahead = Prefetch(data, ahead=2)
    for first in (0, 64, 128, 192):
        ahead.take(first, 16, CPU)
    assert {call[0] for call in ahead._waiting} == {256, 320}
    ahead.close()
    assert len(data.calls) == len(set(data.calls[1:])) + 1  # nothing was read twice


def test_errors_of_the_background_reach_the_caller() -> None:
    ahead = Prefetch(Counting(), ahead=1)
    ahead.take(9_990, 32, CPU)  # reads 10,022 ahead, which fails, but nobody asked for it yet
    with pytest.raises(ValueError, match="the disk is gone"):
        ahead.take(10_022, 32, CPU)
    ahead.close()
