"""The Vendi score: what it is of sets whose eigenvalues are known."""

from __future__ import annotations

import json
import math

import pytest
import torch

from gantlet.core.errors import InputError
from gantlet.metrics import Kept
from gantlet.metrics.sources import dealt, without
from gantlet.metrics.vendi import vendi

AXES = torch.eye(6)


@pytest.mark.parametrize("times", [1, 3])  # fewer rows than dimensions and more
@pytest.mark.parametrize("k", [1, 2, 5])
def test_orthogonal_clusters(k: int, times: int) -> None:
    x = AXES[:k].repeat(times * 4, 1) * torch.rand(k * times * 4, 1).add(0.1)  # lengths do not matter
    assert vendi(x, x)["vendi"] == pytest.approx(k, rel=1e-6)


def test_unequal_clusters() -> None:
    """exp of the entropy of the shares: 3/4 and 1/4."""
    x = AXES[[0, 0, 0, 1]]
    want = math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    for fake in (x, x.repeat(5, 1)):
        said = vendi(AXES, fake)
        assert said["vendi"] == pytest.approx(want) and said["real_vendi"] == pytest.approx(6)
    assert said["name"] == "Vendi-raw" and "does not compare" in said["warning"]


def test_two_rows_at_an_angle() -> None:
    """K / 2 has the eigenvalues (1 +- cos) / 2; the opposite direction is as far as it gets and no more than two."""
    for angle in (0.3, 1.2, 2.0):
        x = torch.tensor([[1.0, 0, 0], [math.cos(angle), math.sin(angle), 0]])
        p = (1 + math.cos(angle)) / 2
        want = math.exp(-p * math.log(p) - (1 - p) * math.log(1 - p))
        assert vendi(x, x)["vendi"] == pytest.approx(want, rel=1e-6)


def test_rows_of_zeros_are_a_kind_of_their_own() -> None:
    x = torch.cat([torch.zeros(3, 6), AXES[:1].repeat(3, 1)])
    for fake in (x, x.repeat(4, 1)):
        assert vendi(x, fake)["vendi"] == pytest.approx(2)
    assert vendi(x, torch.zeros(5, 6))["vendi"] == pytest.approx(1)


def test_both_ways_to_the_eigenvalues_agree() -> None:
    """50 rows of 30 numbers by the 30 x 30 matrix, of the same with 40 zeros more by the 50 x 50 one."""
    x = torch.randn(50, 30)
    wide = torch.cat([x, torch.zeros(50, 40)], 1)
    values = torch.linalg.eigvalsh(torch.corrcoef(torch.cat([x, -x], 1).double()) / 50).clamp(min=0)
    got = [vendi(rows, rows)["vendi"] for rows in (x, wide)]
    assert got == pytest.approx([math.exp(-float(torch.xlogy(values, values).sum()))] * 2, rel=1e-9)


def test_more_kinds_score_more_and_copies_nothing() -> None:
    x = torch.randn(300, 20)
    found = [vendi(x, x[:k].repeat(300 // k, 1))["vendi"] for k in (1, 3, 10, 100, 300)]
    assert found == sorted(found) and found[0] == pytest.approx(1) and found[-1] <= 20
    assert vendi(x, x.repeat(2, 1))["vendi"] == pytest.approx(vendi(x, x)["vendi"], rel=1e-9)


@pytest.mark.parametrize("shape", [(60, 9), (40, 90)])
def test_order_batch_size_and_the_jackknife_s_parts_do_not_matter(shape: tuple[int, int]) -> None:
    x = torch.randn(shape)
    want = vendi(x, x)["vendi"]
    assert vendi(x, x.flip(0), batch=7)["vendi"] == pytest.approx(want, rel=1e-9)
    rest = without(Kept(x), 3, 10)
    keep = dealt(0, len(x), 10) != 3
    assert vendi(x, rest)["vendi"] == pytest.approx(vendi(x, x[keep])["vendi"], rel=1e-9)


def test_bad_input() -> None:
    x = torch.randn(9, 4)
    with pytest.raises(InputError, match="NaN or infinite"):
        vendi(x, torch.full_like(x, float("nan")))
    json.dumps(vendi(x, x[:2]), allow_nan=False)
