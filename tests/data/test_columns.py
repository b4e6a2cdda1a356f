"""The columns of points: what numpy says of them, and a warning where networks will not bear them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gantlet.data import describe
from gantlet.data.columns import BLOCK, columns_of
from gantlet.data.dataset import Array

X = np.random.default_rng(0).normal(size=(2 * BLOCK + 77, 3))


def seen(x: Array) -> list[str]:
    return columns_of(lambda rows: x[rows], len(x)).warnings()


def test_means_and_deviations_are_numpys() -> None:
    x = X * [1, 5, 100] + [1e6, 0, -3]
    found = columns_of(lambda rows: x[rows], len(x))
    assert found.means == pytest.approx(x.mean(0), rel=1e-9) and found.deviations == pytest.approx(x.std(0), rel=1e-9)


def test_standardised_columns_are_borne_and_others_are_not() -> None:
    """What the warning says to do silences it."""
    for x in (X * [1, 5, 100], X * 1000, X * 1e-4, X + np.array([0, 0, 9]), X * [1, 1, 80] - 40):
        (said,) = seen(x)
        assert "(x - x.mean(0)) / x.std(0)" in said and "collapses" in said
        assert seen((x - x.mean(0)) / x.std(0)) == []
    for x in (X, 3 * X, X / 3, X + 2, X * [1, 2, 4]):
        assert seen(x) == []


def test_the_warning_names_the_column_and_the_numbers() -> None:
    assert "deviations of 1 to 100 differ 100-fold" in seen(X / X.std(0) * [1, 5, 100])[0]
    assert "the mean of column 2 (the first is 0) is more than 3" in seen(X + np.array([0, 0, 9]))[0]
    assert "far from 1" in seen(X * 1000)[0]


def test_constant_columns_and_rows_that_are_no_numbers() -> None:
    x = np.float32(X)
    x[:, 1] = 0.1
    x[[3, 5000], 0] = np.nan, np.inf
    assert seen(x) == [
        "2 rows hold NaN or infinity: leave them out",
        "column 1 (the first is 0) has one value alone: leave it out",
    ]
    assert seen(np.full((5, 2), np.nan)) == ["5 rows hold NaN or infinity: leave them out"]


@pytest.mark.parametrize("toy", ["toy:ring", "toy:grid", "toy:swissroll"])
def test_toys_are_borne(toy: str) -> None:
    report = describe(toy)
    assert report.warnings == [] and len(report.columns.means) == 2
    assert "options" in describe("toy:ring?radius=60&count=1000").warnings[0]


def test_a_file_is_told_before_training(tmp_path: Path) -> None:
    np.save(tmp_path / "pts.npy", X * [1, 5, 100])
    report = describe(str(tmp_path / "pts.npy"))
    assert any("standardise each column" in text for text in report.warnings)
    assert report.to_json()["columns"]["deviations"] == pytest.approx([1, 5, 100], rel=0.05)
    assert any(line.startswith("columns:") and "+- " in line for line in report.lines())
    assert describe("digits").to_json()["columns"] is None
