"""MIND: closed forms, sets of different sizes, the same in any blocks and under a jackknife."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
import torch
from distance_laws import drawn, interval_of
from distance_rows import CASES, rows_of
from torch import Tensor

from gantlet.metrics import Features, Kept, sliced
from gantlet.metrics.mind import mind
from gantlet.metrics.sliced import directions
from gantlet.metrics.sources import dealt, without


def test_by_hand() -> None:
    """In one dimension every direction is the line: 0 1 3 onto 1 2 5 moves by 1, 1 and 2."""
    x, y = torch.tensor([[3.0], [0.0], [1.0]]), torch.tensor([[1.0], [5.0], [2.0]])
    assert mind(x, y)["mind"] == pytest.approx(3 * (1 + 1 + 4) / 3)
    # 0 for half the way and then 1, onto 0 for two thirds and then 3
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [0.0], [3.0]])
    assert mind(x, y)["mind"] == mind(y, x)["mind"] == pytest.approx(3 * (1 / 6 + 4 / 3))


@pytest.mark.parametrize("name", CASES)
def test_the_paper_s_formula(name: str) -> None:
    """3 d times the mean over directions of the mean squared step between sorted projections, in numpy."""
    x, y = rows_of(name)
    n, d = min(len(x), len(y)), x.shape[1]
    ways = directions(d, 100, seed=3).numpy()
    assert np.allclose(np.linalg.norm(ways, axis=1), 1)
    steps = np.sort(x[:n].numpy() @ ways.T, 0) - np.sort(y[:n].numpy() @ ways.T, 0)
    assert mind(x[:n], y[:n], ways=100, seed=3)["mind"] == pytest.approx(3 * d * float(np.mean(steps**2)), rel=1e-6)


@pytest.mark.parametrize("d", [2, 16])
def test_a_shift_and_a_scale(d: int) -> None:
    """Moved by m: |m . w|^2 along w, so 3 |m|^2 in the mean over all directions; twice as wide: 3 sum x^2."""
    x, move = drawn(1000, d, "x"), torch.linspace(-1, 2, d)
    ways = directions(d, 4000, seed=0)
    want = 3 * d * float((ways @ move.double()).square().mean())
    assert mind(x, x + move, ways=4000)["mind"] == pytest.approx(want, rel=1e-5)
    assert mind(x, x + move, ways=4000)["mind"] == pytest.approx(3 * float(move.square().sum()), rel=0.1)
    assert mind(x, 2 * x)["mind"] == pytest.approx(3 * float(x.square().sum(1).mean()), rel=0.1)
    fresh = mind(x, drawn(1000, d, "y") + move, ways=4000)["mind"]  # N(0, I) and N(m, I)
    assert fresh == pytest.approx(3 * float(move.square().sum()), rel=0.2)


def test_different_sizes_are_compared_exactly() -> None:
    """As when every row is repeated until there are as many on both sides."""
    x, y = drawn(12, 5, "x"), drawn(18, 5, "y", shift=0.4)
    want = mind(x.repeat_interleave(3, 0), y.repeat_interleave(2, 0))["mind"]
    assert mind(x, y)["mind"] == pytest.approx(want, rel=1e-6)
    assert mind(x, x.repeat(4, 1))["mind"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("block", [sliced._BLOCK, 4 * 40 * 7, 1])
def test_any_source_any_order_any_block(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sliced, "_BLOCK", block)
    x, y = drawn(40, 6, "x"), drawn(33, 6, "y", scale=1.5)
    want = pytest.approx(mind(x, y, ways=50)["mind"], rel=1e-6)
    flat = Features("flat", torch.nn.Flatten(), 6)
    for real, fake in ((Kept(x), Kept(y)), (list(x.split(7)), (p for p in y.split(3))), (x.flip(0), y.flip(0)), (y, x)):
        assert mind(real, fake, features=flat, ways=50, batch=9)["mind"] == want
    assert mind(x, x.flip(0))["mind"] == 0
    kept = Kept(y)
    for j in (0, 7):
        rest = y[dealt(0, 33, 10) != j]
        assert mind(x, without(kept, j, 10), ways=50)["mind"] == pytest.approx(mind(x, rest, ways=50)["mind"], rel=1e-6)


def test_what_a_kept_set_holds_is_of_its_own_directions() -> None:
    x, y = Kept(drawn(30, 4, "x")), Kept(drawn(30, 4, "y"))
    got = [mind(x, y, ways=w, seed=s)["mind"] for w, s in ((20, 0), (20, 1), (40, 0), (20, 0))]
    assert got[0] == got[3] and len(set(got)) == 3


def test_noise_dropped_modes_and_moments_alone() -> None:
    x = torch.cat([drawn(300, 4, "a", shift=-2), drawn(300, 4, "b", shift=2)])
    values = [mind(x, x + level * drawn(600, 4, "noise"))["mind"] for level in (0.0, 0.2, 0.4, 0.8)]
    assert values == sorted(values)
    assert mind(x, x[:300])["mind"] > 20
    # one Gaussian of the same mean and covariance, which a Frechet distance cannot tell
    same = drawn(600, 4, "same").double() @ torch.linalg.cholesky(torch.cov(x.double().T)).T
    assert (
        mind(x, same.float())["mind"]
        > 5 * mind(x, torch.cat([drawn(300, 4, "c", shift=-2), drawn(300, 4, "d", shift=2)]))["mind"]
    )


def test_the_interval_covers_fresh_fakes() -> None:
    real = Kept(drawn(300, 4, "r"))
    flat = Features("flat", torch.nn.Flatten(), 4)
    score = lambda r, f: mind(r, f, ways=30, features=flat)["mind"]  # noqa: E731
    truth = statistics.fmean(score(real, drawn(150, 4, "t", i, shift=0.5)) for i in range(60))
    hits = 0
    for i in range(40):
        low, high = interval_of(score, real, Kept(drawn(150, 4, "c", i, shift=0.5)))[:2]
        hits += low <= truth <= high
    assert hits >= 36


def test_what_it_says() -> None:
    x: Tensor = drawn(1200, 2, "x")
    got = mind(x, x[:1000])
    assert (got["name"], got["real_count"], got["fake_count"], got["ways"]) == ("MIND-raw", 1200, 1000, 1000)
    assert got["warning"] == "" and "999 samples" in mind(x, x[:999], ways=2)["warning"]
