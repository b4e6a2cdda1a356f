"""Moments: any order and any split of the rows gives the same."""

from __future__ import annotations

import pytest
import torch

from gantlet.core.errors import InputError
from gantlet.metrics import Moments


def gap(a: Moments, b: Moments) -> float:
    return max(float((a.mean - b.mean).abs().max()), float((a.covariance - b.covariance).abs().max()))


@pytest.fixture
def rows() -> torch.Tensor:
    return torch.randn(1000, 7) * torch.logspace(-2, 2, 7) + torch.linspace(-30, 30, 7)


def test_equal_to_the_dense_formula(rows: torch.Tensor) -> None:
    m = Moments(7).add(rows)
    assert torch.allclose(m.mean, rows.double().mean(0), rtol=1e-13)
    assert torch.allclose(m.covariance, torch.cov(rows.double().T), rtol=1e-10)


@pytest.mark.parametrize("batch", [1, 3, 64, 999])
def test_split_and_order_do_not_matter(rows: torch.Tensor, batch: int) -> None:
    whole, parts = Moments(7).add(rows), Moments(7)
    for piece in rows[torch.randperm(1000)].split(batch):
        parts.add(piece)
    assert gap(whole, parts) < 1e-10 * float(whole.covariance.abs().max())
    assert parts.count == 1000


def test_merging_is_adding_and_the_empty_one_is_neutral(rows: torch.Tensor) -> None:
    a, b, whole = Moments(7).add(rows[:10]), Moments(7).add(rows[10:]), Moments(7).add(rows)
    assert gap(a.merge(b), whole) < 1e-10 * float(whole.covariance.abs().max())
    before = whole.mean.clone()
    whole.merge(Moments(7)).add(rows[:0])
    assert torch.equal(whole.mean, before) and whole.count == 1000
    assert gap(Moments(7).merge(whole), whole) == 0


def test_a_far_mean_costs_no_precision() -> None:
    x = torch.randn(500, 3, dtype=torch.float64)
    near, far = Moments(3).add(x), Moments(3)
    for piece in (x + 1e6).split(50):
        far.add(piece)
    assert torch.allclose(near.covariance, far.covariance, atol=1e-8)


def test_errors() -> None:
    with pytest.raises(InputError, match="at least 2 samples"):
        Moments(3).add(torch.zeros(1, 3)).covariance
    with pytest.raises(InputError, match=r"\[n, 3\] are wanted"):
        Moments(3).add(torch.zeros(2, 4))
    with pytest.raises(InputError, match="do not mix"):
        Moments(3, of="a").merge(Moments(3, of="b"))
    with pytest.raises(InputError, match="too large"):
        Moments(9000)
