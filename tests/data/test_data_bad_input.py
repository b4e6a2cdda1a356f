"""What the user can mend is named: the value, the rule, the way out."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_files import noise, png, save_idx, save_pngs, save_tree, zipped

from gantlet.core.errors import InputError
from gantlet.data import describe, open_source


def refused(source: Any, match: str, **options: Any) -> str:
    with pytest.raises(InputError, match=match) as caught:
        open_source(source, **options)
    text = str(caught.value)
    assert all(len(line) < 900 for line in text.splitlines())
    return text


def test_missing_paths_suggest_what_is_near(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    refused(tmp_path / "photo", "did you mean 'photos'")
    refused(tmp_path / "no" / "where", "there is no folder")


def test_misspelt_sources_suggest_the_known_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused("digit", "did you mean 'digits'")
    refused("toy:rign", "no toy named 'rign'; did you mean 'ring'")


def test_toy_options_are_checked_all_at_once() -> None:
    text = refused("toy:ring?sgma=1&modes=2.5&count=0&radius=nan", "no option 'sgma'; did you mean 'sigma'")
    for part in ("modes=2.5 is not a whole number", "count=0 must be at least 1", "radius=nan must be finite"):
        assert part in text
    refused("toy:grid?modes=24", "modes=24 is not a square number; use 16 or 25")


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    refused(tmp_path, r"no images in it \(0 files\); looked for .*png")
    (tmp_path / "notes.txt").write_text("none")
    refused(tmp_path, r"no images in it \(1 files\)")
    (tmp_path / "empty").mkdir()
    refused(zipped(tmp_path / "empty", tmp_path / "empty.zip"), "no images in it")


def test_files_that_are_no_data(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(png(noise((8, 8, 3))))
    (tmp_path / "notes.txt").write_text("none")
    refused(tmp_path / "one.png", "one image; a set needs a folder")
    refused(tmp_path / "notes.txt", "no known kind of data")


def test_one_image_is_refused_for_training_but_can_be_looked_at(tmp_path: Path) -> None:
    save_pngs(tmp_path, 1)
    refused(tmp_path, "there is one image; a GAN needs at least 2 different ones")
    refused(f"{tmp_path}#test", "too few different images")
    assert len(open_source(f"{tmp_path}#all")) == 1
    refused(noise((1, 8, 8)), "there is one image")


def test_all_duplicates_are_refused(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"{i}.png").write_bytes(png(noise((8, 8, 3))))
    refused(tmp_path, "all 12 images are the same; a GAN needs at least 2 different ones")
    refused(tmp_path, "all 12 images are the same")  # from the cache as well
    refused(np.zeros((9, 8, 8), np.uint8), "all 9 images are the same")
    for split in ("train", "test"):
        for i in range(3):
            (tmp_path / "b" / split).mkdir(parents=True, exist_ok=True)
            (tmp_path / "b" / split / f"{i}.png").write_bytes(png(noise((8, 8, 3))))
    refused(tmp_path / "b", "all 3 images are the same")


def test_all_duplicates_in_a_named_training_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=np.zeros((70, 8, 8), np.uint8), x_test=noise((4, 8, 8)))
    refused(tmp_path / "a.npz", "all 70 images are the same")


def spoil(folder: Path, n: int) -> None:
    good = (folder / "000.png").read_bytes()
    spoilt = [b"", b"not an image", good[: len(good) // 2], good[:40]]
    for i in range(n):
        (folder / f"bad{i}.png").write_bytes(spoilt[i % 4])


def test_few_unreadable_files_are_left_out_counted_and_named(tmp_path: Path, said: list[str]) -> None:
    save_pngs(tmp_path, 10)
    spoil(tmp_path, 4)
    text = refused(tmp_path, "4 of 14 files cannot be read")
    assert "bad0.png" in text and "allow more with bad_files=0.29" in text
    data = open_source(f"{tmp_path}#all", bad_files=0.29, say=said.append)
    assert len(data) == 10
    assert any("4 files cannot be read and are left out" in line and "bad2.png" in line for line in said)
    again: list[str] = []
    open_source(tmp_path, bad_files=0.3, say=again.append)
    assert any("4 files cannot be read" in line for line in again)  # a warm cache says it too
    refused(tmp_path, "4 of 14 files cannot be read")  # and does not allow more than it was asked to


def test_one_in_a_hundred_passes(tmp_path: Path) -> None:
    save_pngs(tmp_path, 99, (4, 4))
    spoil(tmp_path, 1)
    assert len(open_source(f"{tmp_path}#all")) == 99
    (tmp_path / "bad_too.png").write_bytes(b"")
    assert "2 of 101" in refused(f"{tmp_path}#all", "cannot be read")


def test_nothing_readable_is_refused_whatever_is_allowed(tmp_path: Path) -> None:
    for i in range(7):
        (tmp_path / f"{i}.png").write_bytes(b"no")
    text = refused(tmp_path, "7 of 7 files cannot be read .*none is left", bad_files=1.0)
    assert text.count(".png:") == 5
    with pytest.raises(InputError, match="none of 7 files can be read"):
        describe(str(tmp_path))


def test_labels_for_files_that_are_not_there(tmp_path: Path) -> None:
    save_pngs(tmp_path, 3)
    (tmp_path / "labels.csv").write_text("file,label\n000.png,1\ngone.png,2\nlost.png,0\n")
    refused(tmp_path, r"labels.csv names 2 files that are not there \(gone.png, lost.png\)")


@pytest.mark.parametrize("name", ["a.zip", "a.npz", "a.npy", "a.parquet", "a.tar", "a.tar.gz", "a-idx3-ubyte"])
def test_damaged_files_are_named(tmp_path: Path, name: str) -> None:
    if name == "a.parquet":
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(b"\x1f\x8b damaged" if name.endswith("gz") else b"this is not what it says")
    refused(tmp_path / name, name.replace(".", r"\."))


def test_idx_files_that_lie(tmp_path: Path) -> None:
    path = save_idx(tmp_path / "train-images-idx3-ubyte", noise((10, 8, 8)))
    path.write_bytes(path.read_bytes()[:-5])
    refused(path, "shorter than its header says")
    save_idx(path, noise((10, 8, 8)))
    save_idx(tmp_path / "train-labels-idx1-ubyte", noise((9,)))
    refused(tmp_path, "10 rows but labels of shape")
    path.unlink()
    refused(tmp_path, "labels but no idx images")
    (tmp_path / "train-images-idx3-ubyte").write_bytes(struct.pack(">HBB", 7, 8, 3))
    refused(tmp_path, "not an idx file")


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.zeros((0, 8, 8), np.uint8), "no rows"),
        (np.zeros((5,), np.uint8), "needs .*points"),
        (np.zeros((5, 8, 8), np.int64), "images of int64; give uint8"),
        (np.full((5, 8, 8), 7.0), "must be finite and in -1..1, found 7 to 7; store them as uint8, or divide by 127.5"),
        (np.full((5, 8, 8), -7.0), "found -7 to -7; divide them by 7"),
        (np.full((5, 8, 8), np.nan), "found nan to nan; leave out the images that hold NaN"),
        (np.full((5, 8, 8), np.nan), "must be finite"),
        (np.zeros((5, 9, 8, 8), np.uint8), "neither 1 to 4 channels second nor last"),
        (np.zeros((5, 2, 2, 2, 2), np.uint8), "needs"),
    ],
)
def test_arrays_that_are_no_images(tmp_path: Path, array: Any, match: str) -> None:
    refused(array, match)
    np.save(tmp_path / "a.npy", array)
    refused(tmp_path / "a.npy", match)


def test_arrays_of_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    refused(tmp_path / "a.npy", "holds Python objects")
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}], object))
    refused(tmp_path / "a.npz", "holds Python objects")
    np.savez(tmp_path / "b.npz", weights=noise((4, 4)), bias=noise((4,)))
    refused(tmp_path / "b.npz", "no key says images .*weights, bias")


def test_points_have_no_size() -> None:
    refused(torch.zeros(5, 2), "these are points", size=8)
    refused("toy:ring", "these are points", size=8)


def test_sizes_that_differ_between_splits_are_named(tmp_path: Path, said: list[str]) -> None:
    save_tree(tmp_path)
    save_pngs(tmp_path / "test" / "cat", 1, (9, 8, 3), first=500)
    open_source(tmp_path, say=said.append)
    assert any("2 sizes" in line for line in said)
    np.savez(tmp_path / "a.npz", x_train=noise((5, 8, 8)), x_test=noise((5, 9, 9)))
    refused(tmp_path / "a.npz", "its arrays differ in shape")


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (torch.utils.data.TensorDataset(torch.zeros(9, 2)), "a TensorDataset is no source; give a path, a tensor"),
        ([["a", 1.0]], "this list is no array of numbers"),
        (3, "an int is no source"),
    ],
)
def test_what_is_no_source_is_refused_by_its_type(given: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        open_source(given)


def test_numbers_in_lists_are_points() -> None:
    assert open_source([[1, 2], [3, 4]] * 40).spec.shape == (2,)
