"""`describe` and `contact_sheet`: everything a user should know before training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from data_files import noise, png, save_pngs, save_tree
from PIL import Image

from gantlet.core.errors import InputError
from gantlet.data import contact_sheet, describe, open_source, save_picture


def test_a_folder_is_described(tmp_path: Path) -> None:
    save_tree(tmp_path)
    (tmp_path / "train" / "cat" / "again.png").write_bytes((tmp_path / "train" / "dog" / "010.png").read_bytes())
    (tmp_path / "train" / "cat" / "grey.png").write_bytes(png(np.full((8, 12), 7, np.uint8)))
    (tmp_path / "train" / "dog" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    report = describe(str(tmp_path))
    assert report.kind == "folder" and report.count == 12 and report.splits == {"train": 8, "test": 4}
    assert report.sizes == {"8 x 8": 11, "8 x 12": 1} and report.modes == {"RGB": 11, "L": 1}
    assert report.classes == {"cat": 7, "dog": 5} and report.duplicates == 1 and report.blank == 1
    assert list(report.unreadable) == ["train/dog/broken.png"]
    assert report.shape == (3, 16, 16) and report.bits == 8
    assert any("2 sizes" in note for note in report.notes)
    assert any("only 12 rows" in text for text in report.warnings)
    text = "\n".join(report.lines())
    assert "broken.png" in text and "cat (7)" in text and "1 exact duplicates" in text
    assert json.loads(json.dumps(report.to_json()))["shape"] == [3, 16, 16]


@pytest.mark.parametrize("source", ["digits", "toy:ring", "toy:swissroll?count=100"])
def test_named_sources_are_described(source: str) -> None:
    report = describe(source)
    data = open_source(source)
    assert report.shape == data.spec.shape and report.splits["train"] == len(data)
    assert report.splits["test"] == len(data.with_split("test"))
    assert len(report.classes) == data.spec.classes
    json.dumps(report.to_json())
    assert report.lines()


def test_what_is_described_is_what_is_opened(tmp_path: Path) -> None:
    for i in range(70):
        (tmp_path / f"{i}.png").write_bytes(png(noise((8, 8), i, np.uint16)))
    report = describe(str(tmp_path), size=16)
    train = open_source(tmp_path, size=16)
    assert report.shape == train.spec.shape and report.bits == 16
    assert report.splits == {"train": len(train), "test": len(open_source(f"{tmp_path}#test"))}


def test_hopeless_sources_are_still_described(tmp_path: Path) -> None:
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(png(noise((8, 8, 3))))
    report = describe(str(tmp_path))
    assert report.duplicates == 3 and any("all 4 rows are the same" in text for text in report.warnings)
    for i in range(1, 4):
        (tmp_path / f"{i}.png").unlink()
    assert describe(str(tmp_path)).count == 1
    with pytest.raises(InputError, match="no data at"):
        describe(str(tmp_path / "none"))


def test_alpha_that_is_never_used_is_noticed(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(png(noise((8, 8, 3), i), "RGBA"))
    assert any("channels=3 loses nothing" in note for note in describe(str(tmp_path)).notes)


def test_points_in_a_file_are_described(tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(400, 3)))
    report = describe(str(tmp_path / "points.npy"))
    assert report.shape == (3,) and report.splits == {"train": 336, "test": 64} and report.duplicates == 0


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_contact_sheets_of_every_kind(tmp_path: Path, channels: int, dtype: type) -> None:
    data = open_source(noise((30, 12, 20, channels), dtype=dtype))
    path = contact_sheet(data, tmp_path / "deep" / "sheet.png", rows=3, cols=4)
    with Image.open(path) as image:
        assert image.mode == "RGB" and image.size == (4 * (60 + 2) - 2, 3 * (36 + 2) - 2)


def test_a_contact_sheet_shows_the_images_themselves(tmp_path: Path) -> None:
    save_pngs(tmp_path / "a", 3, (64, 64, 3))
    data = open_source(f"{tmp_path / 'a'}#all")
    with Image.open(contact_sheet(data, tmp_path / "sheet.png", rows=8, cols=3)) as image:
        assert image.size == (3 * 66 - 2, 64)
        shown = np.asarray(image)
    tiles = {shown[:, k * 66 : k * 66 + 64].tobytes() for k in range(3)}
    rows = data.read(torch.arange(3)).permute(0, 2, 3, 1)
    assert tiles == {row.numpy().tobytes() for row in rows}


def test_what_cannot_be_drawn_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"shape \[5, 4, 4\] cannot be drawn.*\.npy"):
        save_picture(torch.zeros(2, 5, 4, 4), tmp_path / "a.png")
