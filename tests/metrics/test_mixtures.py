"""Modes of mixtures in the plane."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.core.game import Batch
from gantlet.metrics.modes import modes

SQUARE = [(-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)]
SIGMA = 0.05


def draw(counts: list[int], sigma: float = SIGMA) -> tuple[Tensor, Tensor]:
    label = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return torch.tensor(SQUARE)[label] + sigma * torch.randn(len(label), 2), label


def test_a_perfect_sampler_is_at_ceiling_and_floor() -> None:
    x, label = draw([2500] * 4)
    got = modes(Batch(x, label), draw([2500] * 4)[0], centres=SQUARE, sigma=SIGMA)
    assert got["modes"] == got["solid_modes"] == got["of"] == 4
    assert got["high_quality"] == pytest.approx(got["high_quality_ceiling"], abs=0.004)
    assert got["kl"] < 5 * got["kl_floor"] == pytest.approx(5 * 3 / 20_000)
    assert got["width"] == pytest.approx(1, abs=0.03)


def test_labels_tell_the_modes() -> None:
    real, fake = Batch(*draw([2500] * 4)), draw([700, 100, 100, 100])[0]
    told, seen = modes(real, fake, centres=SQUARE, sigma=SIGMA), modes(real, fake)
    for name in ("kl", "high_quality", "width"):
        assert seen[name] == pytest.approx(told[name], rel=0.03)
    assert modes(real, fake, centres=SQUARE)["modes"] == 4


def test_by_hand() -> None:
    x = torch.tensor([[1.0, 1.0]] * 6 + [[1.0, -1.0]] * 2 + [[0.0, 0.0]] * 2)
    got = modes(x, x, centres=SQUARE, sigma=SIGMA)
    assert (got["modes"], got["solid_modes"], got["high_quality"]) == (2, 2, 0.8)
    assert got["kl"] == pytest.approx(0.75 * math.log(3) + 0.25 * math.log(1))
    assert got["width"] is None or got["width"] >= 0


def test_collapse_inside_the_modes_and_blur_show_in_the_width() -> None:
    x = draw([500] * 4)[0]
    thin, wide = (modes(x, draw([500] * 4, s)[0], centres=SQUARE, sigma=SIGMA) for s in (SIGMA / 2, 2 * SIGMA))
    assert thin["high_quality"] == 1 and thin["width"] == pytest.approx(0.5, abs=0.05)
    assert wide["high_quality"] < 0.8 and wide["width"] == pytest.approx(2, abs=0.2)


def test_nothing_on_a_mode_is_the_worst() -> None:
    x = torch.zeros(10, 2)
    got = modes(x, x, centres=SQUARE, sigma=SIGMA)
    assert got["kl"] == math.log(4) and got["modes"] == 0


def test_errors() -> None:
    with pytest.raises(InputError, match="centres"):
        modes(torch.zeros(4, 2), torch.zeros(4, 2))
    with pytest.raises(InputError, match="points in the plane"):
        modes(torch.zeros(4, 2), torch.zeros(4, 3), centres=SQUARE, sigma=1.0)
