"""Points on a curve in the plane."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.data import open_source
from gantlet.metrics.curve import curve, sliced_w2, swissroll

CORNER = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]  # length 2: a bin of four is half a side


def along(*places: float) -> Tensor:
    """Points on the corner at these arc lengths."""
    return torch.tensor([(s, 0.0) if s <= 1 else (1.0, s - 1) for s in places])


def test_by_hand() -> None:
    """Real points in the middle of each bin; of four fakes two are in the first bin, one in the third, one far off."""
    real = along(0.25, 0.75, 1.25, 1.75)
    fake = torch.cat([along(0.2, 0.3, 1.25), torch.tensor([[5.0, 1.0]])])
    got = curve(real, fake, vertices=CORNER, bins=4)
    assert (got["bins"], got["solid_bins"], got["of"], got["off"]) == (2, 2, 4, 0.25)
    assert got["distance"] == pytest.approx(4 / 4) and got["real_distance"] == 0
    wanted = 0.5 * math.log(2) + 2 * 0.25 * math.log(1)
    assert got["kl"] == pytest.approx(wanted) and got["kl_floor"] == 3 / 8


def test_the_swiss_roll_itself_is_at_the_floor() -> None:
    real, held = open_source("toy:swissroll"), open_source("toy:swissroll#test")
    a, b = (s.rows(torch.arange(5000)).x for s in (real, held))
    got = curve(a, b)
    assert got["bins"] == got["solid_bins"] == 50
    assert got["kl"] < 4 * got["kl_floor"]
    # of Gaussian noise of sigma only what is across the curve counts: sigma sqrt(2 / pi)
    assert got["distance"] == pytest.approx(0.25 / 7.5 * math.sqrt(2 / math.pi), rel=0.05)
    assert got["off"] == pytest.approx(0.01, abs=0.006)
    half = a[a.norm(dim=1) < 1.2]  # the inner turns alone
    less = curve(a, half)
    assert less["solid_bins"] < 40 and less["kl"] > 0.2 and less["sliced_w2"] > 5 * got["sliced_w2"]
    assert len(swissroll()) == 501


def test_sliced_w2_of_a_shift_and_a_scale() -> None:
    """A shift by v costs |v . direction| in every direction: |v|^2 / 2 in the mean over the plane's directions."""
    x = torch.randn(4000, 2)
    assert sliced_w2(x, x) == 0
    assert sliced_w2(x, x + torch.tensor([3.0, 4.0])) == pytest.approx(5 / math.sqrt(2), rel=0.1)
    assert sliced_w2(x, 3 * x) == pytest.approx(2, rel=0.05)
    assert sliced_w2(x, x[:3999]) < 0.05


def test_bad_input() -> None:
    with pytest.raises(InputError, match="points in the plane"):
        curve(torch.zeros(4, 3), torch.zeros(4, 2))
    with pytest.raises(InputError, match="at least two points"):
        curve(torch.zeros(4, 2), torch.zeros(4, 2), vertices=[(0.0, 0.0)])
