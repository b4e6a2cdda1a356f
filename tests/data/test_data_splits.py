"""Held-out rows: stable, disjoint, complete, the right number, duplicates on one side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from data_files import noise, png, save_pngs
from hypothesis import given, settings
from hypothesis import strategies as st

from gantlet.core.errors import InputError
from gantlet.data import open_source
from gantlet.data.dataset import Rows
from gantlet.data.holdout import held_rows


@pytest.mark.parametrize(
    ("n", "held"),
    [
        (1, 0),
        (2, 0),
        (3, 1),
        (5, 1),
        (10, 2),
        (100, 20),
        (320, 64),
        (1280, 64),
        (1797, 90),
        (20_000, 1000),
        (200_000, 5000),
    ],
)
def test_how_many_are_held_out(n: int, held: int) -> None:
    hashes = np.random.default_rng(0).integers(0, 2**63, n).astype(np.uint64)
    assert len(held_rows(hashes)) == held


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=200))
def test_duplicates_stay_together_and_two_remain(given_hashes: list[int]) -> None:
    hashes = np.array(given_hashes, np.uint64)
    held = held_rows(hashes)
    inside = np.isin(np.arange(len(hashes)), held)
    assert not set(hashes[inside].tolist()) & set(hashes[~inside].tolist())
    assert np.array_equal(held, np.sort(held))
    if len(np.unique(hashes)) >= 3:
        assert len(held) and len(np.unique(hashes[~inside])) >= 2
    else:
        assert not len(held)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 20), st.integers(1, 60), st.sets(st.integers(0, 59), max_size=30))
def test_rows_without_the_held_ones_are_the_complement(start: int, count: int, held: set[int]) -> None:
    rows = np.array(sorted(start + h for h in held if h < count), np.int64)
    train, test = Rows(start, start + count, rows), Rows(start, start + count, rows, only=True)
    inside = [r for r in range(start, start + count) if r not in set(rows.tolist())]
    assert train.of(np.arange(len(train))).tolist() == inside
    assert test.of(np.arange(len(test))).tolist() == rows.tolist()


def contents(source: str, size: int | None = None) -> set[bytes]:
    data = open_source(source, size=size)
    return {row.numpy().tobytes() for row in data.read(torch.arange(len(data)))}


def test_splits_are_disjoint_complete_and_stable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = str(save_pngs(tmp_path / "a", 40))
    train, test = contents(source), contents(f"{source}#test")
    assert len(train) == 32 and len(test) == 8 and not train & test
    assert train | test == contents(f"{source}#all")
    monkeypatch.setenv("GANTLET_CACHE", str(tmp_path / "another"))
    assert contents(f"{source}#test") == test


def test_names_and_order_do_not_matter(tmp_path: Path) -> None:
    save_pngs(tmp_path / "a", 40)
    test = contents(f"{tmp_path / 'a'}#test")
    (tmp_path / "b").mkdir()
    for i, file in enumerate(sorted((tmp_path / "a").iterdir(), reverse=True)):
        (tmp_path / "b" / f"{i}.png").write_bytes(file.read_bytes())
    assert contents(f"{tmp_path / 'b'}#test") == test


def test_the_same_images_are_held_out_at_every_size(tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / f"{i:02}.png").write_bytes(png(np.full((8, 8), i * 8, np.uint8)))
    colours = [{row[:1] for row in contents(f"{tmp_path}#test", size)} for size in (8, 4, 16)]
    assert colours[0] == colours[1] == colours[2]


def test_duplicates_land_on_one_side(tmp_path: Path) -> None:
    save_pngs(tmp_path, 20)
    for i in range(20):
        (tmp_path / f"copy_{i:03}.png").write_bytes((tmp_path / f"{i:03}.png").read_bytes())
    assert not contents(str(tmp_path)) & contents(f"{tmp_path}#test")
    assert len(open_source(f"{tmp_path}#test")) == 8


def test_arrays_and_files_of_the_same_pictures_hold_out_the_same_number() -> None:
    array = noise((500, 8, 8, 3))
    assert len(open_source(array, split="test")) == 64


def test_two_images_can_be_trained_on_but_not_tested(tmp_path: Path) -> None:
    save_pngs(tmp_path, 2)
    assert len(open_source(tmp_path)) == 2
    with pytest.raises(InputError, match="too few different images to hold any out"):
        open_source(f"{tmp_path}#test")


def test_an_unknown_split_is_answered_with_those_there_are() -> None:
    for source in ("digits#tset", "digits#val"):
        with pytest.raises(InputError, match=r"no split .*all, test, train"):
            open_source(source)
    with pytest.raises(InputError, match="a toy has train and test"):
        open_source("toy:ring#val")
