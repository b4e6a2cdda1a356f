"""Toys: points are what their formula says, a function of their number, and the modes are known."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from gantlet.data import Stream, contact_sheet, open_source, toy_modes


@pytest.mark.parametrize(("source", "modes"), [("toy:ring", 8), ("toy:grid", 25), ("toy:ring?modes=3&radius=2", 3)])
def test_points_lie_around_their_mode(source: str, modes: int) -> None:
    data = open_source(source)
    centres = toy_modes(source)
    batch = data.rows(torch.arange(20_000))
    assert batch.y is not None and batch.x.shape == (20_000, 2) and batch.x.dtype == torch.float32
    assert centres.shape == (modes, 2) and data.spec.classes == modes
    sigma = 0.05 if "grid" in source else 0.01
    around = (batch.x - centres[batch.y]) / sigma
    assert abs(float(around.std()) - 1) < 0.03 and float(around.mean().abs()) < 0.03
    shares = batch.y.bincount(minlength=modes) / 20_000
    assert float((shares * modes - 1).abs().max()) < 0.15
    assert abs(float(torch.corrcoef(around.T)[0, 1])) < 0.03


def test_the_documented_centres() -> None:
    assert torch.allclose(toy_modes("toy:ring").norm(dim=1), torch.ones(8), atol=1e-6)
    assert set(toy_modes("toy:grid").flatten().tolist()) == {-4, -2, 0, 2, 4}
    assert toy_modes("swissroll").shape == (0, 2)


def test_a_noiseless_swissroll_lies_on_its_spiral() -> None:
    x = open_source("toy:swissroll?sigma=0").rows(torch.arange(5000)).x.double() * 7.5
    t = x.norm(dim=1)
    assert float(t.min()) >= 1.5 * math.pi - 1e-3 and float(t.max()) <= 4.5 * math.pi + 1e-3
    assert torch.allclose(x, torch.stack([t * t.cos(), t * t.sin()], 1), atol=1e-3)


def test_options_reach_the_points() -> None:
    data = open_source("toy:ring?sigma=0&modes=4&count=123&radius=3")
    assert len(data) == data.spec.count == 123
    assert torch.allclose(data.rows(torch.arange(123)).x.norm(dim=1), torch.tensor(3.0))
    assert data.fingerprint != open_source("toy:ring").fingerprint


def test_a_row_is_the_same_whoever_is_beside_it() -> None:
    data = open_source("toy:grid")
    whole = data.rows(torch.arange(100)).x
    assert torch.equal(data.rows(torch.tensor([70, 3])).x, whole[[70, 3]])
    labels = data.labels_array()
    assert labels is not None and torch.equal(labels[:100], data.rows(torch.arange(100)).y)


def test_the_test_points_are_others() -> None:
    train, test = open_source("toy:ring"), open_source("toy:ring#test")
    a, b = train.rows(torch.arange(1000)).x, test.rows(torch.arange(1000)).x
    assert len(torch.cat([a, b]).unique(dim=0)) == 2000
    assert torch.equal(train.with_split("test").rows(torch.arange(1000)).x, b)
    assert open_source("toy:ring", labels=False).spec.classes == 0


def test_a_stream_of_points() -> None:
    batch = Stream(open_source("toy:swissroll"), seed=1).take(7, 64, torch.device("cpu"))
    assert batch.y is None and batch.x.shape == (64, 2)


def test_points_are_drawn(tmp_path: Path) -> None:
    path = contact_sheet(open_source("toy:ring"), tmp_path / "ring.png")
    with Image.open(path) as image:
        assert image.mode == "RGB" and min(image.size) > 400 and len(image.getcolors(1 << 20) or []) > 2
