"""The Frechet distance: closed forms, laws, fewer samples than dimensions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.metrics import Moments, fd, frechet


def of(mean: Tensor, covariance: Tensor, count: int = 10_000) -> Moments:
    """Moments that are exactly these."""
    m = Moments(len(mean))
    m.count, m.mean, m.scatter = count, mean.double(), covariance.double() * (count - 1)
    return m


def spd(d: int) -> Tensor:
    a = torch.randn(d, d, dtype=torch.float64)
    return a @ a.T / d + 0.1 * torch.eye(d, dtype=torch.float64)


def dense(x: Tensor, y: Tensor) -> float:
    """The textbook formula, by the eigenvalues of the product itself."""
    a, b = torch.cov(x.T), torch.cov(y.T)
    root = torch.linalg.eigvals(a @ b).real.clamp(min=0).sqrt().sum()
    return float((x.mean(0) - y.mean(0)).square().sum() + a.trace() + b.trace() - 2 * root)


@pytest.mark.parametrize("d", [1, 2, 16, 128])
def test_spheres(d: int) -> None:
    mean, eye = torch.full((d,), 0.5), torch.eye(d)
    want = 0.25 * d + d * (3 - 2) ** 2
    assert frechet(of(torch.zeros(d), 9 * eye), of(mean, 4 * eye)) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("d", [2, 5, 40])
def test_commuting_covariances(d: int) -> None:
    turn = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64)).Q
    u, v = torch.rand(2, d, dtype=torch.float64) + 0.1
    a, b = (of(torch.zeros(d), turn @ torch.diag(w) @ turn.T) for w in (u, v))
    assert frechet(a, b) == pytest.approx(float((u.sqrt() - v.sqrt()).square().sum()), rel=1e-10)


def test_two_by_two_by_hand() -> None:
    a, b = torch.tensor([[2.0, 1.0], [1.0, 2.0]]), torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    # tr (AB)^1/2 of a 2 x 2 product is sqrt(tr AB + 2 sqrt det AB) = sqrt(8 + 2 * 3)
    assert frechet(of(torch.zeros(2), a), of(torch.zeros(2), b)) == pytest.approx(8 - 2 * 14**0.5, rel=1e-12)


@pytest.mark.parametrize("d", [3, 30])
def test_identity_symmetry_and_shift(d: int) -> None:
    a, b = spd(d), spd(d)
    one, two = of(torch.zeros(d), a), of(torch.randn(d), b)
    assert frechet(one, one) <= 1e-12 * d
    assert frechet(one, two) == pytest.approx(frechet(two, one), rel=1e-10)
    assert frechet(one, of(torch.ones(d), a)) == pytest.approx(d, rel=1e-10)


@pytest.mark.parametrize(("n", "m", "d"), [(200, 300, 8), (20, 30, 64), (5, 400, 64), (2, 2, 32)])
def test_samples_against_the_dense_formula(n: int, m: int, d: int) -> None:
    x, y = torch.randn(n, d, dtype=torch.float64), 1.5 * torch.randn(m, d, dtype=torch.float64) + 0.3
    got = frechet(Moments(d).add(x), Moments(d).add(y))
    if min(n, m) < d:  # exact there too: the roots are the singular values of an n x m matrix
        a, b = (v - v.mean(0) for v in (x, y))
        roots = torch.linalg.svdvals(a @ b.T).sum() / ((n - 1) * (m - 1)) ** 0.5
        want = (x.mean(0) - y.mean(0)).square().sum() + torch.cov(x.T).trace() + torch.cov(y.T).trace() - 2 * roots
        assert got == pytest.approx(float(want), rel=1e-10)
    assert got == pytest.approx(dense(x, y), rel=1e-5)


def test_few_identical_samples_are_at_zero() -> None:
    x = torch.randn(20, 200)
    assert frechet(Moments(200).add(x), Moments(200).add(x.flip(0))) < 1e-9
    assert frechet(Moments(4).add(torch.ones(3, 4)), Moments(4).add(torch.ones(9, 4))) == 0  # no spread at all


def test_more_noise_is_farther() -> None:
    x = torch.rand(400, 1, 4, 4) * 0.5 - 0.25
    noise = torch.randn_like(x)
    values = [fd(x, x + level * noise)["fd"] for level in (0.0, 0.02, 0.05, 0.1, 0.2)]
    assert values == sorted(values) and values[0] < 1e-9


def test_order_and_batch_size_do_not_matter() -> None:
    x, y = torch.rand(300, 1, 5, 5), torch.rand(200, 1, 5, 5) - 0.5
    want = fd(x, y)["fd"]
    assert fd(x.flip(0), y[torch.randperm(200)], batch=7)["fd"] == pytest.approx(want, abs=1e-10)
    assert fd(list(x.split(33)), (p for p in y.split(11)))["fd"] == pytest.approx(want, abs=1e-10)


def test_what_it_says() -> None:
    x = torch.rand(40, 1, 2, 2)
    said = fd(x, x[:5])
    assert said["name"] == "FD-raw" and said["dimension"] == 4
    assert (said["real_count"], said["fake_count"]) == (40, 5)
    assert "5 samples for 4 dimensions" in said["warning"] and "at least 8" in said["warning"]
    assert fd(x, x[:8])["warning"] == ""


def test_errors() -> None:
    x = torch.rand(9, 1, 2, 2)
    with pytest.raises(InputError, match="NaN"):
        fd(x, torch.full_like(x, float("nan")))
    with pytest.raises(InputError, match="at least 2 samples"):
        fd(x, x[:1])
    with pytest.raises(InputError, match="both sets must have the shape"):
        fd(x, torch.rand(9, 1, 3, 3))
    with pytest.raises(InputError, match="no feature named 'vgg'"):
        fd(x, x, features="vgg")
    with pytest.raises(InputError, match="NaN"):
        frechet(Moments(1).add(torch.tensor([[float("nan")], [0.0]])), Moments(1).add(torch.rand(3, 1)))
