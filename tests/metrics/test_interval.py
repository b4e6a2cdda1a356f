"""Intervals: against closed forms, and whether they hold what they say."""

from __future__ import annotations

import math

import pytest
import torch

from gantlet.core.errors import InputError
from gantlet.metrics.interval import jackknife, of_mean, of_share, over_seeds, student


def test_students_points() -> None:
    """The tabulated points solve the t distribution's integral, and the formula goes on where the table ends."""
    for freedom in (1, 2, 3, 9, 30, 31, 60, 200):
        t = torch.linspace(-student(freedom), student(freedom), 200_001, dtype=torch.float64)
        log = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
        density = torch.exp(log - (freedom + 1) / 2 * torch.log1p(t.square() / freedom))
        assert float(torch.trapezoid(density, t)) == pytest.approx(0.95, abs=5e-5), freedom
    with pytest.raises(InputError, match="at least 2 parts"):
        student(0)


def test_the_jackknife_of_a_mean_is_the_classical_interval_of_group_means() -> None:
    x = torch.randn(100, dtype=torch.float64)
    groups = x.view(10, 10)
    less = [float((x.sum() - g.sum()) / 90) for g in groups]
    want = student(9) * float(groups.mean(1).std()) / math.sqrt(10)
    got = jackknife(float(x.mean()), less)
    assert (got.high - got.low) / 2 == pytest.approx(want) and (got.high + got.low) / 2 == pytest.approx(
        float(x.mean())
    )


def test_seeds_are_a_t_interval_of_their_mean() -> None:
    low, high, how, of = over_seeds([1.0, 2.0, 3.0, 6.0])
    error = math.sqrt(14 / 3 / 4)
    assert (low, high) == pytest.approx((3 - 3.182 * error, 3 + 3.182 * error)) and (how, of) == ("seeds", 4)
    with pytest.raises(InputError):
        over_seeds([1.0])


def test_shares_stay_inside_and_are_wilsons() -> None:
    assert of_share(0, 50)[0] == 0 and 0 < of_share(0, 50)[1] < 0.1
    assert of_share(50, 50)[1] == pytest.approx(1)
    low, high = of_share(30, 100)  # Wilson 1927 at p = 0.3, n = 100
    assert (low, high) == pytest.approx((0.2189, 0.3958), abs=1e-4)
    assert of_mean(2.0, 3.0, 9) == pytest.approx((2 - 1.959964, 2 + 1.959964))


@pytest.mark.parametrize("kind", ["jackknife", "seeds", "share"])
def test_they_hold_the_truth_as_often_as_they_say(kind: str) -> None:
    """200 draws: at least 90 % of 95 % intervals; a right one misses that with a chance of 1 in 300."""
    held = 0
    for draw in range(200):
        x = torch.randn(200, generator=torch.Generator().manual_seed(draw), dtype=torch.float64)
        if kind == "jackknife":  # of the variance, which is not linear
            keep = torch.arange(200) % 10
            low, high, *_ = jackknife(float(x.var()), [float(x[keep != j].var()) for j in range(10)])
            held += low <= 1 <= high
        elif kind == "seeds":
            low, high, *_ = over_seeds([float(some.mean()) for some in x.view(5, 40)])
            held += low <= 0 <= high
        else:
            low, high = of_share(int((x > 1).sum()), 200)
            held += low <= 0.158655 <= high
    assert held >= 180
