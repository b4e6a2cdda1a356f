"""The Frechet distance of samples: what the oracles say, how biased it is, and that the extrapolation is not."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from distance_laws import ORACLE, coverage, drawn
from distance_rows import CASES, rows_of
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.metrics import Features, Kept, Moments, fd, frechet
from gantlet.metrics.infinity import fd_infinity, line
from gantlet.metrics.moments import space_of
from gantlet.metrics.sources import without


def flat(d: int) -> Features:
    return Features("raw", torch.nn.Flatten(), d)


def sphere(d: int) -> Moments:
    """Of all of N(0, I)."""
    seen = flat(d)
    m = Moments(d, of=space_of(seen))
    m.count, m.scatter = 10**9, torch.eye(d, dtype=torch.float64) * (10**9 - 1)
    return m


@pytest.mark.parametrize("name", CASES)
def test_the_oracles(name: str) -> None:
    x, y = rows_of(name)
    said = ORACLE["distances"][name]
    assert fd(x, y)["fd"] == pytest.approx(said["fid"], rel=1e-6)
    assert fd(x, y)["fd"] == pytest.approx(said["torchmetrics_fid"], rel=1e-6)


@pytest.mark.parametrize("d", [3, 17, 60])
@pytest.mark.parametrize("n", [40, 300])
def test_features_that_are_never_on(n: int, d: int) -> None:
    """Dimensions without spread on one side or both add what their own variance and shift do."""
    x, y = drawn(n, d, "x"), drawn(n + 5, d, "y", scale=1.3)
    dead, half = torch.zeros(n, 2), drawn(n, 1, "half", scale=0.5)
    wide = (
        torch.cat([x, dead, half], 1),
        torch.cat([y, torch.ones(n + 5, 2), torch.full((n + 5, 1), float(half.mean()))], 1),
    )
    want = fd(x, y)["fd"] + 2 + float(half.double().var())
    assert fd(*wide)["fd"] == pytest.approx(want, rel=1e-6)
    assert fd(wide[1], wide[0])["fd"] == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0, 6.0])
def test_narrow_spectra(spread: float) -> None:
    """Quick where the spectrum allows it, exact where it does not: two commuting covariances of any condition."""
    d = 80
    turn = torch.linalg.qr(drawn(d, d, "turn").double()).Q
    u = torch.logspace(0, -2 * spread, d, dtype=torch.float64)
    v = u * torch.linspace(1, 2, d, dtype=torch.float64)
    one, two = (Moments(d) for _ in range(2))
    for m, w in ((one, u), (two, v)):
        m.count, m.scatter = 1001, 1000 * turn @ torch.diag(w) @ turn.T
    want = float((u.sqrt() - v.sqrt()).square().sum())
    assert frechet(one, two) == pytest.approx(want, rel=1e-8)
    assert frechet(one, one) < 1e-10


@pytest.mark.parametrize(("n", "d"), [(100, 4), (400, 4), (400, 12), (1600, 24)])
def test_bias_is_the_known_line_and_the_extrapolation_has_none(n: int, d: int) -> None:
    """Of n fakes of N(0, I) against itself FD is d / n for the mean and d (d + 1) / 4n for the covariance."""
    population, values, limits = sphere(d), [], []
    for i in range(60):
        got = fd_infinity(population, drawn(n, d, "bias", n, d, i), seed=i)
        assert got["values"][0] == pytest.approx(fd(population, drawn(n, d, "bias", n, d, i), features=flat(d))["fd"])
        values.append(got["values"][0])
        limits.append(got["fd_infinity"])
    known = d / n + d * (d + 1) / 4 / (n - 1)
    error = statistics.stdev(values) / math.sqrt(60)
    assert statistics.fmean(values) == pytest.approx(known, abs=4 * error + d * (d / n) ** 2) and error < 0.07 * known
    error = statistics.stdev(limits) / math.sqrt(60)
    # what is left is of the next order: (d / n)^2, not d^2 / n
    assert abs(statistics.fmean(limits)) < 4 * error + 3 * d * (d / n) ** 2
    assert abs(statistics.fmean(limits)) < 0.2 * known


def test_a_shift_is_found_whatever_the_number_of_fakes() -> None:
    d, want = 8, 8 * 0.25
    for n in (120, 480):
        limits = [fd_infinity(sphere(d), drawn(n, d, "shift", n, i, shift=0.5))["fd_infinity"] for i in range(50)]
        assert statistics.fmean(limits) == pytest.approx(want, abs=4 * statistics.stdev(limits) / math.sqrt(50))


def test_by_hand() -> None:
    """Parts of one dimension: FD is (m - 0)^2 + (s - 1)^2."""
    assert line([0.1, 0.2, 0.3], [5.0, 7.0, 9.0]) == pytest.approx((20.0, 3.0))
    x = drawn(12, 1, "x")
    got = fd_infinity(sphere(1), x, parts=3)
    whole = float(x.double().mean() ** 2 + (x.double().std() - 1) ** 2)
    assert got["values"][0] == pytest.approx(whole, rel=1e-6) and got["sizes"] == [12, 6, 4]
    slope, limit = line([1 / 12, 2 / 12, 3 / 12], got["values"])
    assert (got["slope"], got["fd_infinity"]) == pytest.approx((slope, limit))
    two = fd_infinity(sphere(1), x)
    assert two["fd_infinity"] == pytest.approx(2 * two["values"][0] - two["values"][1])


def test_order_is_by_the_seed_alone() -> None:
    real, x = drawn(60, 3, "r"), drawn(50, 3, "x")
    got = fd_infinity(real, x)
    assert got["fd_infinity"] == pytest.approx(fd_infinity(Kept(real), Kept(x), batch=7)["fd_infinity"], rel=1e-9)
    assert got["fd_infinity"] != fd_infinity(real, x, seed=1)["fd_infinity"]
    assert got["values"][0] == pytest.approx(fd_infinity(real, x.flip(0), seed=1)["values"][0], rel=1e-9)
    less = fd_infinity(Kept(real), without(Kept(x), 0, 10))
    assert less["fake_count"] == 45 and less["fd_infinity"] != got["fd_infinity"]


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_intervals_of_fd_hold_the_truth(shift: float) -> None:
    """The truth is the mean of the score over fresh sets of as many fakes, against the same reference."""
    real, seen = drawn(300, 4, "reference"), flat(4)

    def score(r: object, f: object) -> float:
        return float(fd(r, f, features=seen)["fd"])  # type: ignore[arg-type]

    def fakes(i: int, name: str = "c") -> Tensor:
        return drawn(120, 4, name, i, shift=shift)

    whole = Moments(4).add(real)
    truth = statistics.fmean(frechet(whole, Moments(4).add(fakes(i, "t"))) for i in range(600))
    assert coverage(score, Kept(real), fakes, truth) >= 0.9


def test_too_few() -> None:
    x = drawn(40, 4, "x")
    few = fd(x, x[:7])
    assert not few["valid"] and "kd or mind" in few["warning"] and fd(x, x[:8])["valid"]
    assert "kd or mind" in fd_infinity(x, x[:15])["warning"] and not fd_infinity(x, x[:15])["valid"]
    assert fd_infinity(x, x[:16])["valid"] and fd_infinity(x, x[:16])["warning"] == ""
    assert "7 reals" in fd_infinity(x[:7], x)["warning"] and not fd_infinity(x, x[:23], parts=3)["valid"]
    with pytest.raises(InputError, match="4, there are 3"):
        fd_infinity(x, x[:3])
    seen = Features("Inception", torch.nn.Flatten(), 4, titles={"FD": "FID"})
    assert fd_infinity(x, x[:16], features=seen)["name"] == "FID-infinity"
