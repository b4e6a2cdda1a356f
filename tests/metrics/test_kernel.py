"""Kernel distances: by hand, against the oracles, unbiased, cheap under a jackknife."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import torch
from distance_laws import ORACLE, coverage, drawn, interval_of
from distance_rows import CASES, rows_of
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.metrics import Features, Kept, kernel_sums
from gantlet.metrics.kernel import Gaussian, cmmd, cubic, kd, kernel_distance
from gantlet.metrics.sources import dealt, without


def dense(x: Tensor, y: Tensor) -> float:
    """All pairs at once."""
    x, y = x.double(), y.double()
    xx, yy, xy = ((a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    n, m = len(x), len(y)
    inside = (xx.sum() - xx.trace()) / (n * (n - 1)) + (yy.sum() - yy.trace()) / (m * (m - 1))
    return float(inside - 2 * xy.mean())


def test_by_hand() -> None:
    """k(0, 1) = k(0, 2) = k(0, 0) = 1 and k(1, 2) = 27: 1 + 1 - 2 * 30 / 4."""
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]])
    assert kd(x, y)["kd"] == kernel_distance(x, y) == -13
    # with the pairs of one sample with itself: (1 + 1 + 1 + 8) / 4 + (1 + 1 + 1 + 125) / 4 - 15
    assert kernel_distance(x, y, unbiased=False) == 11 / 4 + 32 - 15


@pytest.mark.parametrize("name", CASES)
def test_the_oracles(name: str) -> None:
    """torch-fidelity's KID over its own subsets, torchmetrics' MMD of the first rows."""
    said, how = ORACLE["distances"][name], ORACLE["subsets"]
    x, y = rows_of(name)
    rng = np.random.RandomState(how["seed"])
    values = []
    for _ in range(how["subsets"]):
        one, two = (rng.choice(len(side), how["size"], replace=False) for side in (x, y))
        values.append(kernel_distance(x[one], y[two]))
    assert statistics.fmean(values) == pytest.approx(said["kid"], rel=1e-6, abs=1e-12)
    assert statistics.pstdev(values) == pytest.approx(said["kid_std"], rel=1e-6)
    n = min(len(x), len(y))
    assert kd(x[:n], y[:n])["kd"] == pytest.approx(said["torchmetrics_mmd"], rel=1e-6)


@pytest.mark.parametrize(("n", "m", "d"), [(2, 2, 1), (30, 5, 3), (300, 190, 8)])
@pytest.mark.parametrize("block", [kernel_sums._BLOCK, 16, 17])
def test_every_kind_of_source_and_any_block(
    n: int, m: int, d: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_sums, "_BLOCK", block)
    x, y = drawn(n, d, "x"), drawn(m, d, "y", scale=1.2)
    want = pytest.approx(dense(x, y), rel=1e-9, abs=1e-12)
    assert kernel_distance(x, y) == want
    for real, fake in ((x, y), (Kept(x), Kept(y)), (list(x.split(7)), (p for p in y.split(3))), (Kept(y), Kept(x))):
        seen = Features("flat", torch.nn.Flatten(), d)
        assert kd(real, fake, features=seen, batch=11)["kd"] == want
    assert kd(x.flip(0), y[torch.randperm(m)])["kd"] == want


def test_one_kept_set_on_both_sides() -> None:
    for n in (7, 50):
        kept = Kept(drawn(n, 3, "both"))
        x = kept.source
        assert isinstance(x, Tensor)
        assert kd(kept, kept)["kd"] == pytest.approx(dense(x, x), rel=1e-9)
        assert kd(kept, kept)["kd"] < 0 < cmmd(kept, Kept(x + 1))["cmmd"]
        assert cmmd(kept, kept)["cmmd"] < 1e-12


def test_a_jackknife_reads_what_was_summed_up() -> None:
    x, y = drawn(60, 4, "x"), drawn(57, 4, "y", shift=0.3)
    real, fake = Kept(x), Kept(y)
    whole = kd(real, fake)["kd"]
    for j in range(10):
        rest = dealt(0, 57, 10) != j
        assert kd(real, without(fake, j, 10))["kd"] == pytest.approx(dense(x, y[rest]), rel=1e-9)
        assert cmmd(real, without(fake, j, 10))["cmmd"] == pytest.approx(cmmd(x, y[rest])["cmmd"], rel=1e-9)
        assert kd(real, without(fake, j, 7))["kd"] != whole  # other groups than those that were kept
    assert kd(real, fake)["kd"] == whole


def test_it_is_unbiased() -> None:
    """Of two sets of one distribution it is 0 on average; of a shift the same at any number of samples."""
    values = [kernel_distance(drawn(20, 3, "a", i), drawn(25, 3, "b", i)) for i in range(400)]
    assert abs(statistics.fmean(values)) < 4 * statistics.stdev(values) / 20
    few, many = (
        [kernel_distance(drawn(n, 3, "c", n, i), drawn(n, 3, "d", n, i, shift=0.5)) for i in range(300)]
        for n in (8, 64)
    )
    error = math.hypot(statistics.stdev(few), statistics.stdev(many)) / math.sqrt(300)
    assert abs(statistics.fmean(few) - statistics.fmean(many)) < 4 * error


def test_the_published_protocol() -> None:
    x, y = drawn(500, 4, "x"), drawn(400, 4, "y", shift=0.3)
    got = kd(x, y, subsets=60, subset_size=100)
    assert got["kd"] == pytest.approx(kd(x, y)["kd"], abs=4 * got["kd_std"] / math.sqrt(60) + 0.02)
    assert got["subset_size"] == 100 and got["warning"] == ""
    assert got == kd(x, y, subsets=60, subset_size=100) != kd(x, y, subsets=60, subset_size=100, seed=1)
    cut = kd(x, y, subsets=2)
    assert cut["subset_size"] == 400 and "subsets of 400, not 1000" in cut["warning"]
    # of as many as there are a subset is the set, in another order
    assert kd(y, y + 1, subsets=1, subset_size=400)["kd"] == pytest.approx(dense(y, y + 1), rel=1e-9)


def test_cmmd_by_a_loop() -> None:
    x, y = drawn(20, 6, "x").double(), drawn(15, 6, "y", shift=0.4).double()

    def k(a: Tensor, b: Tensor) -> float:
        return math.exp(-float((a / a.norm() - b / b.norm()).square().sum()) / 200)

    def mean(one: Tensor, two: Tensor) -> float:
        return math.fsum(k(a, b) for a in one for b in two) / (len(one) * len(two))

    want = 1000 * (mean(x, x) + mean(y, y) - 2 * mean(x, y))
    assert cmmd(x.float(), y.float())["cmmd"] == pytest.approx(want, rel=1e-5)
    assert 1000 * kernel_distance(x, y, kernel=Gaussian(10.0), unbiased=False) == pytest.approx(want, rel=1e-10)
    assert cmmd(x * 7, y)["cmmd"] == pytest.approx(want, rel=1e-5)  # the length of a feature is nothing
    assert cmmd(x, y, sigma=1.0)["cmmd"] > 20 * want


def test_more_noise_is_farther() -> None:
    x = torch.rand(300, 1, 4, 4) - 0.5
    noise = torch.randn_like(x)
    for metric, key in ((kd, "kd"), (cmmd, "cmmd")):
        values = [metric(x, x + level * noise)[key] for level in (0.0, 0.1, 0.2, 0.4, 0.8)]
        assert values == sorted(values)


def test_intervals_hold_the_truth() -> None:
    """The truth is the mean of the score over fresh sets of as many fakes."""
    real = drawn(200, 4, "reference")
    truth = statistics.fmean(kernel_distance(real, drawn(100, 4, "t", i, shift=0.3)) for i in range(400))
    kept, flat = Kept(real), Features("flat", torch.nn.Flatten(), 4)
    assert (
        coverage(lambda r, f: kd(r, f, features=flat)["kd"], kept, lambda i: drawn(100, 4, "c", i, shift=0.3), truth)
        >= 0.9
    )


def test_the_interval_does_not_shrink_to_nothing() -> None:
    got = interval_of(lambda r, f: kd(r, f)["kd"], Kept(drawn(90, 3, "r")), Kept(drawn(80, 3, "f")))
    assert got.low < got.high and math.isfinite(got.high - got.low)


def test_what_it_says() -> None:
    got = kd(drawn(9, 2, 1), drawn(8, 2, 2))
    assert (got["name"], got["real_count"], got["fake_count"]) == ("KD-raw", 9, 8)
    assert cmmd(drawn(9, 2, 1), drawn(8, 2, 2))["name"] == "CMMD-raw"
    seen = Features("Inception", torch.nn.Flatten(), 2, titles={"FD": "FID", "KD": "KID"})
    assert kd(drawn(9, 2, 1), drawn(8, 2, 2), features=seen)["name"] == "KID"
    assert float(cubic(torch.ones(1, 2), torch.ones(1, 2))) == 8


def test_errors() -> None:
    x = drawn(5, 2, "x")
    with pytest.raises(InputError, match="at least 2 samples a side, there are 5 and 1"):
        kd(x, x[:1])
    with pytest.raises(InputError, match="infinite"):
        kd(x, x / 0)
    assert cmmd(x, x[:1])["cmmd"] > 0
