"""Memorisation: by hand, against other packages, nothing found in fresh samples, copies found."""

from __future__ import annotations

import json
import math
from typing import Any

import neighbour_cases as rule
import pytest
import torch
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.noise import normal
from gantlet.metrics import Kept, fd
from gantlet.metrics.memorisation import LEAST, authpct, ct, memorisation, mifid
from gantlet.metrics.ranks import binomial_tail, normal_tail, rank_test
from gantlet.metrics.regions import regions_of
from gantlet.metrics.sources import without

RECORD: dict[str, Any] = json.loads(rule.RECORD.read_text())


def points(*at: float) -> Tensor:
    return torch.tensor(at, dtype=torch.float32).unsqueeze(1)


def drawn(name: str, n: int, d: int = 4) -> Tensor:
    return normal((d,), n, key=("test memorisation", name))


def uniform_gap(values: list[float]) -> float:
    """Kolmogorov's: the most by which the values' distribution and the uniform differ."""
    ordered, n = sorted(values), len(values)
    return max(max(abs(v - i / n), abs(v - (i + 1) / n)) for i, v in enumerate(ordered))


# ---- by hand ------------------------------------------------------------------------------------------------------

REAL, HELD = points(0, 2, 10), points(5, 20)
FAKE = points(
    1.5, 9, 4, 22, 7.5
)  # nearest reals 2, 10, 2, 10, 10 at .5, 1, 2, 12, 2.5; held-out ones at 3.5, 4, 1, 2, 2.5


def test_memorisation_by_hand() -> None:
    """The last fake is as near to either and left out. Of four, two are nearer to one of the 3 reals than to the 2.

    Each is nearest to another of the 5 samples: all are independent, and the tail is that of 2 or more of 4 at 0.6.
    """
    said = memorisation(REAL, FAKE, held_out=HELD)
    assert (said["nearer"], said["expected"], said["ties"], said["independent"]) == (0.5, 0.6, 1, 4)
    assert said["p_value"] == pytest.approx(1 - 0.4**4 - 4 * 0.6 * 0.4**3)
    assert (said["real_count"], said["fake_count"], said["held_out_count"]) == (3, 5, 2)
    assert said["name"] == "Nearer to the reference-raw" and "2 held-out samples are few" in said["warning"]


def test_authpct_by_hand() -> None:
    """The reals' own gaps are 2, 2, 8: fakes at .5, 1, 2, 12, 2.5 of reals with 2, 8, 2, 8, 8; only 12 is more."""
    assert authpct(REAL, FAKE)["authpct"] == pytest.approx(20)


def test_ct_by_hand() -> None:
    """Held-out reals are 3 and 10 from their nearest: of 10 pairs the fake is farther in 1 + 1."""
    said = ct(REAL, FAKE, held_out=HELD)
    assert said["ct"] == pytest.approx((2 - 5) / math.sqrt(5 * 2 * 8 / 12))
    assert said["p_value"] == pytest.approx(normal_tail(-said["ct"])) and said["tested_cells"] == 1


def test_mifid_by_hand() -> None:
    """Angles of 0, 0, 45 and 45 degrees to the nearest axis: s = (1 - cos 45) / 2 = 0.146."""
    real = torch.tensor([[1.0, 0], [0, 1], [3, 0], [0, 3]])
    fake = torch.tensor([[5.0, 0], [0, -2], [1, 1], [2, -2]])
    s, plain = (1 - 0.5**0.5) / 2, fd(real, fake)["fd"]
    for tau, want in ((0.15, plain / s), (0.14, plain)):
        said = mifid(real, fake, tau=tau)
        assert said["mifid"] == pytest.approx(want) and said["memorisation_distance"] == pytest.approx(s)
    assert said["name"] == "MiFD-raw" and said["fd"] == plain


@pytest.mark.parametrize("case", rule.CASES)
def test_other_packages_say_the_same(case: str) -> None:
    real, fake, held = rule.sides(case)
    want = RECORD[case]
    assert mifid(real, fake, tau=rule.TAU)["mifid"] == pytest.approx(want["mifid"], rel=1e-6)
    assert authpct(real, fake)["authpct"] == pytest.approx(want["authpct"], rel=1e-9)
    assert ct(real, fake, held_out=held)["ct"] == pytest.approx(want["ct"], rel=1e-9)
    assert memorisation(real, fake, held_out=held)["nearer"] == pytest.approx(want["nearer"], rel=1e-9)


def test_every_metric_here_is_computed_by_hand() -> None:
    names = [n for n, part in registry.metric.parts.items() if part.fn.__module__ == memorisation.__module__]
    assert len(names) == 4 and all(f"test_{name}_by_hand" in globals() for name in names)


# ---- laws ---------------------------------------------------------------------------------------------------------


def test_fresh_samples_are_not_accused() -> None:
    """Over 200 draws of everything: p is uniform although the fakes share neighbours; C_T has mean 0 and spread 1."""
    tests, scores = [], []
    for i in range(200):
        real, fake, held = (Kept(drawn(f"{side}{i}", n)) for side, n in (("r", 90), ("f", 120), ("h", 60)))
        tests.append(memorisation(real, fake, held_out=held)["p_value"])
        scores.append(ct(real, fake, held_out=held)["ct"])
    assert uniform_gap(tests) < 0.12
    assert uniform_gap([normal_tail(z) for z in scores]) < 0.12
    mean = math.fsum(scores) / 200
    assert abs(mean) < 0.2 and math.fsum((z - mean) ** 2 for z in scores) / 199 == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_copies_are_found(noise: float) -> None:
    real, held = drawn("r", 300), drawn("h", 200)
    fake = real[:200] + noise * drawn("f", 200)
    assert memorisation(real, fake, held_out=held)["p_value"] < 1e-20
    assert memorisation(real, fake, held_out=held)["nearer"] > 0.99
    assert ct(real, fake, held_out=held)["ct"] < -10 and ct(real, fake, held_out=held, cells=3)["ct"] < -4
    assert authpct(real, fake)["authpct"] < 3 < 50 < authpct(real, drawn("f", 200))["authpct"]
    few = torch.cat([drawn("g", 150), fake[:50]])
    assert memorisation(real, few, held_out=held)["p_value"] < 1e-3 and ct(real, few, held_out=held)["ct"] < -3


def test_one_copied_real_is_one_piece_of_evidence() -> None:
    real, held = drawn("r", 300), drawn("h", 200)
    said = memorisation(real, real[:1].expand(500, -1) + 1e-3 * drawn("f", 500), held_out=held)
    assert said["nearer"] == 1 and said["independent"] == pytest.approx(1) and said["p_value"] == pytest.approx(0.6)


def test_far_samples_are_authentic_and_overshoot() -> None:
    real, held, far = drawn("r", 300), drawn("h", 200), 3 * drawn("f", 200)
    assert ct(real, far, held_out=held)["ct"] > 10 and authpct(real, far)["authpct"] > 90


def test_mifid_is_fd_where_nothing_is_memorised_and_finite_where_all_is() -> None:
    real, fake = drawn("r", 300, 64), drawn("f", 300, 64)
    assert mifid(real, fake)["mifid"] == mifid(real, fake)["fd"] == fd(real, fake)["fd"]
    near = mifid(real, real[:200] + 0.02 * fake[:200])
    assert near["mifid"] == pytest.approx(near["fd"] / near["memorisation_distance"]) and near["valid"]
    all_copied = mifid(real, real[:200])
    assert all_copied["mifid"] == pytest.approx(all_copied["fd"] / LEAST) and not all_copied["valid"]
    assert "copy" in all_copied["warning"]


def test_what_a_jackknife_looks_at_is_the_rest() -> None:
    real, fake = Kept(drawn("r", 200, 8)), Kept(drawn("f", 100, 8))
    rest = without(fake, 3, 10)
    assert mifid(real, rest)["mifid"] == pytest.approx(mifid(real.source, rows_of(rest))["mifid"], rel=1e-9)


def rows_of(source: Any) -> Tensor:
    return torch.cat([batch.x for batch in source])


def test_order_and_batch_size_do_not_matter() -> None:
    real, fake, held = rule.sides("copies")
    for metric, key in ((memorisation, "p_value"), (ct, "ct"), (authpct, "authpct"), (mifid, "mifid")):
        extra = {"held_out": held} if metric in (memorisation, ct) else {}
        turned = {"held_out": held.flip(0)} if extra else {}
        want = metric(real, fake, **extra)[key]
        assert metric(real.flip(0), fake.flip(0), batch=7, **turned)[key] == pytest.approx(want, rel=1e-9)
        json.dumps(metric(real, fake, **extra), allow_nan=False)


def test_intervals_hold_what_fresh_fakes_score() -> None:
    real, held = Kept(drawn("real", 100)), Kept(drawn("held", 80))
    fakes = [Kept(0.9 * drawn(f"fake {i}", 100)) for i in range(100)]
    for metric, key in ((memorisation, "nearer"), (ct, "ct"), (authpct, "authpct")):
        extra = {} if metric is authpct else {"held_out": held}
        said = [metric(real, fake, **extra) for fake in fakes]
        mean = math.fsum(s[key] for s in said) / 100
        assert sum(s["intervals"][key][0] <= mean <= s["intervals"][key][1] for s in said) >= 90, key


def test_cells() -> None:
    """Where each of two clusters is copied or overshot, the global test sees nothing and the cells see neither hidden."""
    at = torch.tensor([[40.0, 0, 0, 0]])
    real = torch.cat([drawn("r", 200), drawn("s", 200) + at])
    cell = regions_of([real], 2, 0)[0]
    assert set(cell[:200].tolist()) != set(cell[200:].tolist()) and len(set(cell[:200].tolist())) == 1
    held = torch.cat([drawn("h", 100), drawn("i", 100) + at])
    said = ct(real, torch.cat([real[:60], drawn("f", 15) + at]), held_out=held, cells=2)
    assert said["tested_cells"] == 1 and said["ct"] < -8


# ---- the tests beneath --------------------------------------------------------------------------------------------


def test_binomial_tails() -> None:
    for (hits, trials, share), want in zip(rule.BINOMIAL, RECORD["binomial"], strict=True):
        assert binomial_tail(hits, trials, share) == pytest.approx(want, rel=1e-6)
    for hits in range(8):
        exact = math.fsum(math.comb(7, i) * 0.3**i * 0.7 ** (7 - i) for i in range(hits, 8))
        assert binomial_tail(hits, 7, 0.3) == pytest.approx(exact, rel=1e-12)
    assert binomial_tail(100_400, 200_001, 0.5) == pytest.approx(normal_tail(399 / math.sqrt(50_000.25)), rel=1e-9)


def test_ranks_with_ties() -> None:
    """x = 1, 2, 2 and y = 2, 3: U = 0 + 1/2 + 1/2 of 6; ties of 3 take 24 / 20 off N + 1 = 6."""
    z, error = rank_test(*(torch.tensor(v, dtype=torch.float64) for v in ([1, 2, 2], [2, 3])))
    spread = math.sqrt(6 / 12 * (6 - 24 / 20))
    assert z == pytest.approx((1 - 3) / spread)
    assert error == pytest.approx(math.sqrt(1 / 12) * math.sqrt(3) / spread)
    assert rank_test(torch.ones(3), torch.ones(4)) == (0, 0)


def test_bad_input() -> None:
    x = drawn("a", 10)
    for metric in (memorisation, ct):
        with pytest.raises(InputError, match="held_out"):
            metric(x, x)
    with pytest.raises(InputError, match="none of 4 cells holds 20 fakes"):
        ct(x, x, held_out=x, cells=4)
    with pytest.raises(InputError, match="12 cells need as many samples"):
        ct(x, x, held_out=x, cells=12)
    with pytest.raises(InputError, match="1 nearest neighbours need 2 samples"):
        authpct(x[:1], x)
    with pytest.raises(InputError, match="shape"):
        memorisation(x, x, held_out=drawn("a", 10, 3))
