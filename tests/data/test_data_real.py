"""Real data, where there is some: the folder GANTLET_DATA."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from gantlet.data import Stream, describe, open_source

HOME = Path(os.environ.get("GANTLET_DATA", "-"))
CPU = torch.device("cpu")


def real(name: str) -> Path:
    if not (HOME / name).exists():
        pytest.skip(f"set GANTLET_DATA to a folder with {name}")
    return HOME / name


def test_mnist() -> None:
    data = open_source(real("mnist"))
    assert len(data) == 60_000 and data.spec.shape == (1, 28, 28) and data.spec.classes == 10
    assert len(open_source(f"{real('mnist')}#test")) == 10_000
    x = (data.rows(torch.arange(60_000)).x + 1) / 2
    assert abs(float(x.mean()) - 0.1307) < 1e-4 and abs(float(x.std()) - 0.3081) < 1e-4


def test_eurosat() -> None:
    data = open_source(real("eurosat_rgb"))
    assert len(data) == 5000 and data.spec.shape == (3, 64, 64)
    assert data.class_names[0] == "AnnualCrop" and len(data.class_names) == 10
    y = data.labels_array()
    assert y is not None and y.bincount().tolist() == [500] * 10
    assert len(data.with_split("test")) == 1000
    balanced = Stream(data, seed=0, balanced=True).take(0, 100, CPU).y
    assert balanced is not None and balanced.bincount().tolist() == [10] * 10


def test_emoji() -> None:
    data = open_source(real("emoji/blob2017_png128.zip"), size=32)
    assert data.spec.shape == (4, 32, 32) and data.spec.classes == 0
    report = describe(str(real("emoji/blob2017_png128.zip")))
    assert report.count == 1224 and report.modes["RGBA"] == 1220 and len(report.sizes) == 4


def test_photographs_of_mixed_orientation(said: list[str]) -> None:
    data = open_source(real("bsds500_subset"), say=said.append)
    assert data.spec.shape == (3, 256, 256) and len(data) == 100 and len(data.with_split("test")) == 50
    assert any("2 sizes" in line for line in said)
