"""Precision, recall, density and coverage: by hand, against the packages of the papers' authors, and their laws."""

from __future__ import annotations

import json
import math
from typing import Any

import neighbour_cases as rule
import pytest
import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.core.noise import normal
from gantlet.metrics import Kept
from gantlet.metrics.neighbours import density_coverage, precision_recall

RECORD: dict[str, Any] = json.loads(rule.RECORD.read_text())
BOTH = {"precision-recall": precision_recall, "density-coverage": density_coverage}
KEYS = ("precision", "recall", "density", "coverage")


def four(real: Any, fake: Any, **options: Any) -> dict[str, float]:
    answers = {key: value for part in BOTH.values() for key, value in part(real, fake, **options).items()}
    return {key: answers[key] for key in KEYS}


def points(*at: float) -> Tensor:
    return torch.tensor(at, dtype=torch.float32).unsqueeze(1)


def drawn(name: str, n: int, d: int) -> Tensor:
    return normal((d,), n, key=("test neighbours", name))


def test_by_hand() -> None:
    """k = 1. Balls of the reals: -1..1, 0..2, 1..5, 3..11, of which each near fake is in the second and the third.

    Balls of the fakes: 1..1.5, 1.5..2, 1.75..38.25, 1.25..1.75; of the reals only 0 is in none.
    """
    got = four(points(0, 1, 3, 7), points(1.25, 1.75, 20, 1.5), k=1)
    assert got == {"precision": 0.75, "recall": 0.75, "density": 6 / 4, "coverage": 0.5}


def test_names_counts_and_details() -> None:
    x, y = drawn("a", 40, 3), drawn("b", 30, 3)
    for metric, keys in ((precision_recall, KEYS[:2]), (density_coverage, KEYS[2:])):
        said = metric(x, y)
        assert said["names"] == {key: f"{key.capitalize()}-raw" for key in keys}
        assert (said["real_count"], said["fake_count"]) == (40, 30) and "30 samples are few" in said["warning"]
        assert set(said["intervals"]) == set(keys)
        json.dumps(said, allow_nan=False)
    assert "take equal counts" in precision_recall(x, y[:12])["warning"]
    assert density_coverage(drawn("a", 1000, 1), drawn("b", 1000, 1))["warning"] == ""


@pytest.mark.parametrize("case", rule.CASES)
@pytest.mark.parametrize("k", [3, 5])
def test_prdc_says_the_same(case: str, k: int) -> None:
    real, fake, _ = rule.sides(case)
    assert four(real, fake, k=k) == pytest.approx(RECORD[case][f"prdc_{k}"], abs=1e-6)


@pytest.mark.parametrize("case", rule.CASES)
def test_torch_fidelity_says_the_same(case: str) -> None:
    real, fake, _ = rule.sides(case)
    got = precision_recall(real, fake)
    assert {key: got[key] for key in KEYS[:2]} == pytest.approx(RECORD[case]["torch_fidelity_3"], abs=1e-6)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_a_set_against_itself(k: int) -> None:
    """Closed balls: each holds its own centre and k others, so density is (k + 1) / k. Copies change nothing."""
    x = drawn("a", 200, 4)
    assert four(x, x, k=k) == pytest.approx({"precision": 1, "recall": 1, "density": (k + 1) / k, "coverage": 1})
    atoms = torch.randint(0, 3, (200, 1)).float()
    for one, other in ((atoms, atoms), (x, torch.cat([x, x]))):
        got = four(one, other, k=k)
        assert got["precision"] == got["recall"] == got["coverage"] == 1


def test_order_and_batch_size_do_not_matter() -> None:
    x, y = drawn("a", 300, 6), drawn("b", 250, 6) * 1.1
    want = four(x, y)
    assert four(x.flip(0), y[torch.randperm(250)], batch=7) == pytest.approx(want, abs=1e-12)
    assert four(list(x.split(33)), list(y.split(11))) == pytest.approx(want, abs=1e-12)
    stream = precision_recall(x, (part for part in y.split(11)))
    assert stream["recall"] == pytest.approx(want["recall"], abs=1e-12)


def test_the_roles_swap() -> None:
    """Precision is the recall of the other side."""
    x, y = drawn("a", 300, 6), drawn("b", 250, 6) * 1.2
    one, other = precision_recall(x, y), precision_recall(y, x)
    assert (one["precision"], one["recall"]) == (other["recall"], other["precision"])


def test_dropped_modes_cost_recall_and_coverage_alone() -> None:
    modes = 50.0 * torch.eye(8)[torch.arange(800) % 8]
    real, fake = modes + drawn("a", 800, 8), modes + drawn("b", 800, 8)
    found = [four(real, fake[torch.arange(800) % 8 < kept]) for kept in (8, 6, 4, 2)]
    for key in ("recall", "coverage"):
        values = [f[key] for f in found]
        assert values == sorted(values, reverse=True) and values[-1] < 0.4 * values[0]
    assert all(abs(f["precision"] - found[0]["precision"]) < 0.05 for f in found)


def test_noise_costs_precision_and_density() -> None:
    real, fake = drawn("a", 500, 8), drawn("b", 500, 8)
    found = [four(real, fake + level * drawn("c", 500, 8)) for level in (0.0, 0.5, 1.0, 2.0)]
    for key in ("precision", "density", "coverage"):
        values = [f[key] for f in found]
        assert values == sorted(values, reverse=True) and values[-1] < 0.5 * values[0]


def test_density_passes_one_and_an_outlier_fools_precision_alone() -> None:
    many = density_coverage(drawn("a", 500, 16), 0.3 * drawn("b", 500, 16))
    assert many["density"] > 2 and many["coverage"] < 0.95
    real = drawn("a", 500, 2)
    out = torch.cat([real, torch.full((1, 2), 30.0)])
    off = torch.full((500, 2), 12.0) + 0.1 * drawn("b", 500, 2)
    assert precision_recall(out, off)["precision"] == 1
    assert density_coverage(out, off)["density"] < 0.3 and density_coverage(out, off)["coverage"] < 0.01


def test_fresh_reals_score_what_the_paper_expects() -> None:
    sides = [(drawn(f"a{i}", 200, 3), drawn(f"b{i}", 150, 3)) for i in range(30)]
    said = [density_coverage(*pair) for pair in sides]
    mean = {key: math.fsum(s[key] for s in said) / len(said) for key in KEYS[2:]}
    assert mean["density"] == pytest.approx(1, abs=0.03)
    assert mean["coverage"] == pytest.approx(said[0]["expected_coverage"], abs=0.01)
    assert density_coverage(*(drawn(n, 400, 1) for n in "ab"))["expected_coverage"] == pytest.approx(
        1 - 2**-5, abs=2e-3
    )


def test_intervals_hold_what_fresh_fakes_score() -> None:
    """At least 90 % of the draws, the reals fixed, where the sets are alike, and where the fakes are few and narrow."""
    for n, m, scale, draws in ((100, 100, 1.0, 200), (150, 60, 0.85, 150)):
        real = Kept(drawn("real", n, 4))
        fakes = [Kept(scale * drawn(f"fake {i}", m, 4)) for i in range(draws)]
        said = [[part(real, fake, k=3) for fake in fakes] for part in BOTH.values()]
        for key, answers in zip(KEYS, (said[0], said[0], said[1], said[1])):
            mean = math.fsum(a[key] for a in answers) / draws
            inside = sum(a["intervals"][key][0] <= mean <= a["intervals"][key][1] for a in answers)
            width = max(a["intervals"][key][1] - a["intervals"][key][0] for a in answers)
            assert inside >= 0.9 * draws and width < 0.8, key


def test_neighbours_are_looked_for_once() -> None:
    """The two metrics share each side's search, and with one k the pass over both as well."""
    real, fake = Kept(drawn("a", 100, 3)), Kept(drawn("b", 90, 3))
    alone = [part(real.source, fake.source, k=3) for part in BOTH.values()]
    assert [part(real, fake, k=3) for part in BOTH.values()] == alone
    keys = [[key[0] for key in side._sums] for side in (real, fake)]
    assert [sorted(k) for k in keys] == [["features", "radii"], ["balls", "features", "radii"]]
    density_coverage(real, fake, k=5)
    assert [key[0] for key in fake._sums].count("radii") == 1 and len([k for k in fake._sums if k[0] == "balls"]) == 2


def test_too_few() -> None:
    x = drawn("a", 10, 2)
    assert precision_recall(x, x[:4])["recall"] > 0
    with pytest.raises(InputError, match="3 nearest neighbours need 4 samples or more, there are 3"):
        precision_recall(x, x[:3])
    with pytest.raises(InputError, match="no feature named 'inception5'"):
        density_coverage(x, x, features="inception5")
    with pytest.raises(InputError, match="shape"):
        density_coverage(x, drawn("a", 10, 3))
