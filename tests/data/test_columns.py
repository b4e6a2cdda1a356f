"""The columns of points: what numpy says of them, and a warning where networks will not bear them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gantlet.core.errors import InputError
from gantlet.data import describe, open_source
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


def test_a_constant_column_is_named() -> None:
    x = np.float32(X)
    x[:, 1] = 0.1
    assert seen(x) == ["column 1 (the first is 0) has one value alone: leave it out"]


def test_points_that_are_no_numbers_are_refused_with_their_place() -> None:
    x = np.float32(np.tile(X, (1 + 70_000 // len(X), 1)))
    x[[3, 69_000], 0] = np.nan, np.inf
    for given, place in (
        (x, "row 3, column 0 .both from 0. is nan"),
        (x[4:], "row 68,996, column 0 .both from 0. is inf"),
    ):
        with pytest.raises(InputError, match=f"points must be finite; {place}; . of .* leave them out"):
            open_source(given)


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
