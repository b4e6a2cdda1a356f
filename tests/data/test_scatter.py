"""Points as pictures: what is drawn lies where the axes say, on the same axes in every picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from gantlet.data import View, open_source, view_of
from gantlet.data.dataset import Array
from gantlet.data.scatter import BELOW, GAP, LEFT, SIDE, SMALL, TOP, _ticks, around, scatter

UNIT = View((-1.0, -1.0), (1.0, 1.0))
PLOT = slice(TOP + 2, TOP + SIDE - 1), slice(LEFT + 2, LEFT + SIDE - 1)


def normal(n: int, d: int, scale: float = 0.3) -> torch.Tensor:
    return scale * torch.randn(n, d, generator=torch.Generator().manual_seed(d))


def inked(picture: Array) -> Array:
    """Where the panel is not white."""
    return (picture[PLOT] < 250).any(2)


@pytest.mark.parametrize("point", [(0.0, 0.0), (0.5, -0.25), (-0.9, 0.9)])
def test_a_point_lies_where_the_axes_say(point: tuple[float, float]) -> None:
    rows, columns = np.nonzero(inked(scatter(torch.tensor([point]), UNIT)))
    x, y = (columns.mean() + 2) / SIDE * 2 - 1, 1 - (rows.mean() + 2) / SIDE * 2
    assert (x, y) == pytest.approx(point, abs=0.01)


def test_as_many_dots_as_points() -> None:
    """Far from each other, each has its own."""
    for n in (1, 4, 9):
        side = math.isqrt(n)
        x = (torch.cartesian_prod(torch.arange(side), torch.arange(side)).view(-1, 2) - (side - 1) / 2) * 0.5
        ink = inked(scatter(x, UNIT))
        across, down = (np.diff(ink.any(axis).astype(int), prepend=0) == 1 for axis in (0, 1))
        assert across.sum() * down.sum() == n


def test_pictures_of_one_view_have_the_same_axes() -> None:
    view = view_of(open_source("toy:ring"))
    assert view is not None
    a, b = (scatter(normal(n, 2, scale), view) for n, scale in ((4, 0.3), (4000, 2.0)))
    assert a.shape == b.shape
    beside, below = (slice(None), slice(LEFT - 4)), slice(4 - BELOW, None)
    assert np.array_equal(a[beside], b[beside]) and np.array_equal(a[below], b[below])
    assert (a[beside] < 200).any() and (a[below] < 200).any(), "there are labels"
    assert not np.array_equal(a, b)


def test_reals_are_grey_and_show_through() -> None:
    """Samples are blue, and darker where they lie on reals."""
    view = View((-1.0, -1.0), (1.0, 1.0), torch.tensor([[0.0, 0.0], [0.5, 0.0]]))
    picture = scatter(torch.tensor([[0.0, 0.0], [-0.5, 0.0]]), view)[PLOT].astype(int)
    middle = SIDE // 2 - 2
    both, real, made = (picture[middle, middle + round(x * SIDE / 2)] for x in (0.0, 0.5, -0.5))
    assert np.ptp(real) < 20 and 120 < real.mean() < 230
    assert made[2] - made[0] > 80
    assert (both <= made).all() and (both < real).all()


def test_what_lies_outside_is_counted_and_changes_nothing_else() -> None:
    x = normal(50, 2)
    beyond = torch.tensor([[3.0, 0.0], [0.0, math.nan], [math.inf, 0.0]])
    alone, more = scatter(x, UNIT), scatter(torch.cat([x, beyond]), UNIT)
    assert np.array_equal(alone[TOP:], more[TOP:])
    assert (more[:TOP] < 200).sum() > (alone[:TOP] < 200).sum(), "the line above says so"


@pytest.mark.parametrize(("d", "panels"), [(1, 1), (2, 1), (3, 3), (4, 4), (7, 4)])
def test_points_of_any_number_of_columns(d: int, panels: int) -> None:
    """Of more than two, one panel for each of the first four, and below it one for each pair."""
    x = normal(300, d)
    shapes = {scatter(x[:n], around(x, behind=behind)).shape for n in (1, 300) for behind in (False, True)}
    assert len(shapes) == 1
    picture = scatter(x)
    side = SIDE if panels == 1 else SMALL
    assert picture.shape[0] == TOP + panels * (side + GAP) - GAP + BELOW
    for i in range(panels):
        drawn = [(picture[TOP + i * (side + GAP) :, LEFT + j * (side + GAP) :][3 : side - 3, 3 : side - 3] < 250).any()
                 for j in range(panels)]  # fmt: skip
        assert drawn == [j <= i for j in range(panels)]


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("value", [0.0, 1e9, -1e-12, math.nan, math.inf])
def test_hopeless_points_have_a_picture(d: int, value: float) -> None:
    assert scatter(torch.full((5, d), value)).ndim == 3


def test_a_histogram_is_high_where_points_are() -> None:
    x = torch.cat([torch.full((30, 1), -0.5), torch.full((90, 1), 0.5)])
    ink = inked(scatter(x, View((-1.0,), (1.0,))))[:-10]
    left, right = (ink[:, half].any(1).sum() for half in (slice(0, SIDE // 2), slice(SIDE // 2, SIDE)))
    assert right == pytest.approx(3 * left, rel=0.1)


def test_a_ring_is_round_and_unlike_columns_have_their_own_scale() -> None:
    flat, wide = torch.tensor([[-1.0, -0.5], [1.0, 0.5]]), torch.tensor([[-1.0, -50.0], [1.0, 50.0]])
    for x, ratio in ((flat, 1), (wide, 50)):
        view = around(x)
        spans = [high - low for low, high in zip(view.low, view.high)]
        assert spans[1] / spans[0] == pytest.approx(ratio)
        assert all(low < a and b < high for low, high, a, b in zip(view.low, view.high, x[0].tolist(), x[1].tolist()))


def test_axes_follow_the_data_and_images_have_none() -> None:
    (low, _), (high, _) = (view := view_of(open_source("toy:grid"))).low, view.high
    assert -6 < low < -4.2 and 4.2 < high < 6 and len(view.reals) == 5000
    assert view_of(open_source("digits")) is None


@example(999999.998046875, 0.00390625, 2)
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.sampled_from([2, 4]))
def test_ticks_are_round_and_inside(low: float, span: float, least: int) -> None:
    found = _ticks(low, low + span, least)
    assert least <= len(found) <= 11
    shares, near = [share for share, _ in found], 1e-9 + 1e-14 * abs(low) / span  # float64 knows the ends to 1e-16
    assert shares == sorted(set(shares)) and shares[0] >= -near and shares[-1] <= 1 + near
    for share, text in found:
        assert len(text.lstrip("-")) <= 12
        assert float(text) == pytest.approx(low + share * span, rel=1e-9, abs=near * span)
    assert len({text for _, text in found}) == len(found)
