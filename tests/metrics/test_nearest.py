"""Nearest neighbours: the same as a look at all pairs in float64, whatever float32 cannot tell apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.metrics import cloud
from gantlet.metrics.cloud import Cloud, lower, nonzero
from gantlet.metrics.nearest import nearest, nearest_angle, neighbours, within

N, M = 331, 257


def clusters(n: int) -> Tensor:
    """A thousand apart, and in them a thousandth: float32 products see no distance inside them at all."""
    return torch.randn(n, 6).mul(1e-3).double().add(1e3 * torch.randint(0, 3, (n, 1))).float()


DATA: dict[str, Callable[[int], Tensor]] = {
    "normal": lambda n: torch.randn(n, 24),
    "one dimension": lambda n: torch.randn(n, 1),
    "far from the origin": lambda n: torch.randn(n, 8) * 0.01 + 500,
    "clusters": clusters,
    "whole numbers, many ties": lambda n: torch.randint(0, 3, (n, 4)).float(),
    "copies of a few": lambda n: torch.randn(5, 8, generator=torch.Generator().manual_seed(1))[
        torch.randint(0, 5, (n,))
    ],
    "all the same": lambda n: torch.full((n, 3), 7.0),
    "tiny": lambda n: torch.randn(n, 5) * 1e-25,
    "huge": lambda n: torch.randn(n, 5) * 1e25,
    "one far off": lambda n: torch.cat([torch.randn(n - 1, 5), torch.full((1, 5), 1e6)]),
    "float64": lambda n: torch.randn(n, 5, dtype=torch.float64),
}
each = pytest.mark.parametrize("name", DATA)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Several blocks, the last of odd size."""
    monkeypatch.setattr(cloud, "ROWS", 64)
    monkeypatch.setattr(cloud, "COLUMNS", 96)
    yield


def apart(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")


@each
@pytest.mark.parametrize("k", [1, 5])
def test_neighbours_are_those_of_all_pairs(name: str, k: int) -> None:
    x = DATA[name](N)
    want = apart(x, x).fill_diagonal_(float("inf"))
    got = neighbours(x, k)
    assert got.distance.dtype == torch.float64
    assert torch.allclose(got.distance, want.topk(k, 1, largest=False).values, rtol=1e-12, atol=0)
    assert torch.allclose(want.gather(1, got.row), got.distance, rtol=1e-12, atol=0)
    assert not (got.row == torch.arange(N).unsqueeze(1)).any()
    assert all(len(set(row)) == k for row in got.row.tolist())


@each
def test_nearest_of_another_set(name: str) -> None:
    x, y = DATA[name](N), DATA[name](M)
    y[:10] = x[:10]
    want = apart(x, y)
    got = nearest(x, y, 2)
    assert torch.allclose(got.distance, want.topk(2, 1, largest=False).values, rtol=1e-12, atol=0)
    assert torch.allclose(want.gather(1, got.row), got.distance, rtol=1e-12, atol=0)
    assert (got.distance[:10, 0] == 0).all()


@each
def test_balls(name: str) -> None:
    """Every pair once, on either side; a pair at exactly the radius, which is all of them here for some row, is in."""
    x, y = DATA[name](N), DATA[name](M)
    rx, ry = nearest(x, y, 3).distance[:, 2], nearest(y, x, 2).distance[:, 1]
    seen = torch.zeros(2, N, M, dtype=torch.int64)
    for some in within(x, y, rx, ry):
        seen.index_put_((torch.zeros_like(some.i), some.i, some.j), some.in_x.long(), accumulate=True)
        seen.index_put_((torch.ones_like(some.i), some.i, some.j), some.in_y.long(), accumulate=True)
    d = apart(x, y)
    for got, radius in ((seen[0], rx.unsqueeze(1)), (seen[1], ry)):
        assert got.max() == 1
        assert (got[d <= radius] == 1).all() and (got[d > radius * (1 + 1e-11)] == 0).all()


def test_pairs_of_one_set() -> None:
    x = torch.randint(0, 4, (N, 3)).float()
    found = [torch.stack([s.i[s.in_x], s.j[s.in_x]], 1) for s in within(x, None, torch.full((N,), 1.0))]
    want = (apart(x, x) <= 1).triu(1).nonzero()
    got = torch.cat(found)
    assert torch.equal(got[(got[:, 0] * N + got[:, 1]).argsort()], want)


@pytest.mark.parametrize("d", [1, 3, 64, 1000])
@pytest.mark.parametrize("at", [0.0, 3.0])
def test_lower_bounds_are_lower_and_close(d: int, at: float) -> None:
    x, y = torch.randn(200, d) + at, torch.randn(300, d) - at
    a = Cloud.around(x)
    b = a.seeing(y)
    one, two = a.block(slice(0, 200), torch.float32), b.block(slice(0, 300), torch.float32)
    low = lower(one, two).double()
    true = (apart(x, y) * a.unit).square()
    slack = one.slack.double().unsqueeze(1) + two.slack.double()
    assert (low <= true).all() and (true <= low + 2 * slack).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (8, 8), (7, 64), (10, 3)])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_nonzero(shape: tuple[int, int], share: float) -> None:
    mask = torch.rand(shape) < share
    for m in (mask, mask.T):
        got = nonzero(m, most=m.numel())
        assert got is not None and torch.equal(torch.stack(got, 1), m.nonzero())
    if share == 1.0 and mask.numel() >= 16:
        assert nonzero(mask, most=1) is None


def test_reduced_precision_of_products_does_not_matter() -> None:
    x = torch.randn(N, 24)
    want = neighbours(x, 3).distance
    torch.set_float32_matmul_precision("medium")
    try:
        assert torch.allclose(neighbours(x, 3).distance, want, rtol=1e-12, atol=0)
    finally:
        torch.set_float32_matmul_precision("highest")


def test_a_strided_view_is_left_as_it_is() -> None:
    whole = torch.randn(N, 7)
    before = whole.clone()
    assert torch.equal(neighbours(whole[1::3], 2).distance, neighbours(whole[1::3].clone(), 2).distance)
    assert torch.equal(whole, before)


def test_angles() -> None:
    y = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    x = torch.tensor([[5.0, 0, 0], [-3.0, 0, 0], [0, 0, 1.0], [1.0, 1.0, 0], [0, 0, 0], [1.0, 0, 1e-4]])
    got = nearest_angle(x, y)
    near = 1 - 1 / (1 + 1e-8) ** 0.5
    assert got.tolist() == pytest.approx([0, 0, 1, 1 - 0.5**0.5, 1, near], rel=1e-6, abs=1e-30)
    zeros = torch.zeros(1, 3)
    assert nearest_angle(x, torch.cat([y, zeros])).tolist() == pytest.approx([*got.tolist()[:4], 0, near], rel=1e-6)
    assert nearest_angle(x, zeros).tolist() == [1, 1, 1, 1, 0, 1]
    a, b = torch.randn(N, 6), torch.randn(M, 6)
    cos = torch.nn.functional.cosine_similarity(a.double().unsqueeze(1), b.double(), dim=2)
    assert torch.allclose(nearest_angle(a, b), 1 - cos.abs().amax(1), rtol=1e-9, atol=1e-14)


def test_errors() -> None:
    x = torch.randn(4, 3)
    with pytest.raises(InputError, match="4 nearest neighbours need 5 samples or more, there are 4"):
        neighbours(x, 4)
    with pytest.raises(InputError, match="5 nearest neighbours need 5 samples"):
        nearest(x, x, 5)
    with pytest.raises(InputError, match="rows of 3 features"):
        nearest(torch.randn(4, 2), x)
    for wrong in (float("nan"), float("inf")):
        bad = x.clone()
        bad[1, 1] = wrong
        for call in (lambda b=bad: neighbours(b, 1), lambda b=bad: nearest(b, x), lambda b=bad: nearest_angle(b, x)):
            with pytest.raises(InputError, match="NaN or infinite"):
                call()
