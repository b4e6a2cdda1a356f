"""Support size by the birthday paradox: by hand, and of supports that are known."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.core.noise import normal, uniform
from gantlet.metrics import Kept
from gantlet.metrics.birthday import birthday


def points(*at: float) -> Tensor:
    return torch.tensor(at, dtype=torch.float32).unsqueeze(1)


def of_atoms(k: int, n: int, name: str, blur: float = 0.0, power: float = 1.0) -> Tensor:
    """n samples of k things in 8 dimensions; equally likely for power 1."""
    atoms = normal((8,), k, key=("atoms", k))
    which = (k * uniform((), n, key=("which", k, name)) ** power).long()
    return atoms[which] + blur * normal((8,), n, key=("blur", name))


REAL = normal((8,), 1000, key=("real",))


def test_by_hand() -> None:
    """Of the reals' gaps 1, 1, 2, 4 the least quarter is up to 1; of 6 pairs of fakes three are no farther apart."""
    said = birthday(points(0, 1, 3, 7), points(0, 0.5, 1, 9), quantile=0.25)
    assert said["threshold"] == 1 and said["duplicates"] == 3 and said["support"] == 2
    assert said["batch_with_duplicates"] == 3  # 2 of them have one with probability 1/2 at most, 3 with more
    assert said["real_duplicates"] == 1 and said["real_support"] == 6
    assert said["name"] == "Support-raw" and (said["real_count"], said["fake_count"]) == (4, 4)


@pytest.mark.parametrize("k", [20, 300, 2000])
@pytest.mark.parametrize("blur", [0.0, 0.02])
def test_a_known_support_is_found(k: int, blur: float) -> None:
    said = birthday(REAL, of_atoms(k, 1200, f"{k}{blur}", blur))
    assert k / 1.3 < said["support"] < 1.3 * k and said["warning"] == ""
    low, high = said["intervals"]["support"]
    assert k / 2 < low < said["support"] < high < 2 * k
    # s^2 = 2 ln 2 N is a batch whose chance of a duplicate is about a half
    s = said["batch_with_duplicates"]
    assert math.prod(1 - i / said["support"] for i in range(s)) == pytest.approx(0.5, abs=0.1)


def test_what_is_made_most_counts_most() -> None:
    """1 over the sum of squared shares: of shares 1/2 and 100 times 1/200 that is 3.92."""
    fake = torch.cat([of_atoms(1, 1000, "one") + 10, of_atoms(100, 1000, "many")])
    want = 1 / (0.25 + 100 / 200**2)
    assert birthday(REAL, fake)["support"] == pytest.approx(want, rel=0.05)
    assert birthday(REAL, torch.zeros(50, 8))["support"] == 1


def test_the_interval_holds_the_truth() -> None:
    """At least 90 % of 100 draws, of equally likely things and of others."""
    real = Kept(REAL[:300])
    for power in (1.0, 2.0):
        edges = torch.arange(81, dtype=torch.float64).div(80) ** (1 / power)
        truth = 1 / float(edges.diff().square().sum())
        said = [birthday(real, of_atoms(80, 400, f"draw {i}", power=power)) for i in range(100)]
        assert sum(s["intervals"]["support"][0] <= truth <= s["intervals"]["support"][1] for s in said) >= 90


def test_without_duplicates_it_is_a_bound() -> None:
    said = birthday(REAL, 10 * REAL[:400].flip(0))
    assert said["duplicates"] == 0 and said["support"] == pytest.approx(400 * 399 / 2 / math.log(20))
    assert "at least" in said["warning"] and "intervals" not in said
    json.dumps(said, allow_nan=False)


def test_copies_among_the_reals_leave_only_copies_as_duplicates() -> None:
    said = birthday(REAL[:100].repeat(2, 1), of_atoms(50, 300, "copies"))
    assert said["threshold"] == 0 and 50 / 1.3 < said["support"] < 50 * 1.3


def test_order_and_batch_size_do_not_matter() -> None:
    fake = of_atoms(50, 300, "order", 0.01)
    want = birthday(REAL, fake)["support"]
    assert birthday(REAL.flip(0), fake[torch.randperm(300)], batch=7)["support"] == want


def test_too_few() -> None:
    with pytest.raises(InputError, match="3 samples or more, there are 2"):
        birthday(REAL, REAL[:2])
    with pytest.raises(InputError, match="1 nearest neighbours need 2"):
        birthday(REAL[:1], REAL)
