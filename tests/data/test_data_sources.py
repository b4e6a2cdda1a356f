"""Every format, with its splits and labels, on files made on the spot."""

from __future__ import annotations

import bz2
import gzip
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_files import noise, png, save_idx, save_pngs, save_tree, tarred, zipped

from gantlet.core.errors import InputError
from gantlet.data import Dataset, open_source

pa = pytest.importorskip("pyarrow")


def both(source: Any, **options: Any) -> tuple[Dataset, Dataset]:
    return open_source(source, **options), open_source(f"{source}#test", **options)


def labels(data: Dataset) -> list[int]:
    y = data.labels_array()
    assert y is not None and y.dtype == torch.int64
    return y.tolist()


def every_row(data: Dataset) -> torch.Tensor:
    return data.read(torch.arange(len(data)))


CONTAINERS: dict[str, Callable[[Path, Path], Path]] = {
    "folder": lambda tree, out: tree,
    "zip": lambda tree, out: zipped(tree, out / "a.zip"),
    "tar": lambda tree, out: tarred(tree, out / "a.tar"),
    "tar.gz": lambda tree, out: tarred(tree, out / "a.tar.gz", "w:gz"),
    "tgz": lambda tree, out: tarred(tree, out / "a.tgz", "w:gz"),
    "tar.xz": lambda tree, out: tarred(tree, out / "a.tar.xz", "w:xz"),
    "tar.bz2": lambda tree, out: tarred(tree, out / "a.tar.bz2", "w:bz2"),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_containers_hold_the_same(tmp_path: Path, kind: str) -> None:
    tree = save_tree(tmp_path / "tree")
    out = tmp_path / "out"
    out.mkdir()
    train, test = both(CONTAINERS[kind](tree, out))
    assert (len(train), len(test)) == (6, 4)
    assert train.class_names == ("cat", "dog") and train.spec.classes == 2 and train.spec.count == 6
    assert labels(train) == [0, 0, 0, 1, 1, 1] and labels(test) == [0, 0, 1, 1]
    expected = np.stack([noise((8, 8, 3), i).transpose(2, 0, 1) for i in (100, 101, 110, 111)])
    assert np.array_equal(every_row(test).numpy(), expected)
    assert len(open_source(f"{CONTAINERS['folder'](tree, out)}#all")) == 10


def test_a_wrapped_tree_and_odd_cases_are_seen_through(tmp_path: Path) -> None:
    save_tree(tmp_path / "download" / "v1")
    (tmp_path / "download" / "v1" / "Train").mkdir()
    save_pngs(tmp_path / "__MACOSX" / "train", 2)
    (tmp_path / "download" / ".hidden.png").write_bytes(b"no image")
    train, test = both(tmp_path)
    assert (len(train), len(test), train.class_names) == (6, 4, ("cat", "dog"))


@pytest.mark.parametrize(
    ("folders", "train", "test"),
    [
        ("train test", 4, 4),
        ("train val", 4, 4),
        ("training validation", 4, 4),
        ("train val test", 4, 4),
        ("a b test", 8, 4),
        ("train", 3, 1),
        ("a b", 7, 1),
        ("train test extra", 4, 4),
    ],
)
def test_split_folders(tmp_path: Path, folders: str, train: int, test: int) -> None:
    for k, name in enumerate(folders.split()):
        save_pngs(tmp_path / name, 4, first=10 * k)
    assert tuple(map(len, both(tmp_path))) == (train, test)
    assert len(open_source(f"{tmp_path}#all")) == 4 * len(folders.split())


def test_val_keeps_its_name_beside_a_test_folder(tmp_path: Path) -> None:
    for k, name in enumerate(("train", "val", "test")):
        save_pngs(tmp_path / name, 2 + k, first=10 * k)
    assert len(open_source(f"{tmp_path}#val")) == 3
    assert len(open_source(tmp_path).with_split("val")) == 3


def test_a_hash_in_a_path_is_a_path(tmp_path: Path) -> None:
    save_pngs(tmp_path / "take#2", 6)
    assert len(open_source(tmp_path / "take#2")) == 5
    assert len(open_source(f"{tmp_path / 'take#2'}#test")) == 1


@pytest.mark.parametrize("header", ["file,label", "path,class", "id,filename,y", ""])
def test_labels_csv(tmp_path: Path, header: str) -> None:
    save_pngs(tmp_path / "img", 6)
    extra = "7," if header.startswith("id") else ""
    lines = [f"{extra}img/{i:03}.png,{'owl' if i % 2 else 'bee'}" for i in range(6)]
    (tmp_path / "labels.csv").write_text("\n".join([header, *lines] if header else lines), encoding="utf-8-sig")
    data = open_source(f"{tmp_path}#all")
    assert data.class_names == ("bee", "owl") and labels(data) == [0, 1] * 3
    assert open_source(f"{tmp_path}#all", labels=False).spec.classes == 0


def test_labels_csv_may_name_some_files_only(tmp_path: Path, said: list[str]) -> None:
    save_pngs(tmp_path, 4)
    (tmp_path / "labels.csv").write_text("000.png,3\n002.png,1\n")
    data = open_source(f"{tmp_path}#all", say=said.append)
    assert labels(data) == [3, -1, 1, -1] and data.spec.classes == 4
    assert any("2 of 4 images have no label" in line for line in said)


def test_dataset_json(tmp_path: Path) -> None:
    save_pngs(tmp_path / "00000", 4)
    (tmp_path / "dataset.json").write_text(
        json.dumps({"labels": [[f"00000/{i:03}.png", 2 * (i % 2)] for i in range(4)]})
    )
    assert labels(open_source(f"{tmp_path}#all")) == [0, 2, 0, 2]
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": None}))
    assert open_source(f"{tmp_path}#all").spec.classes == 0


def save_mnist(folder: Path, suffix: str) -> Path:
    folder.mkdir()
    for k, (split, n) in enumerate({"train": 20, "t10k": 5}.items()):
        save_idx(folder / f"{split}-images-idx3-ubyte{suffix}", noise((n, 7, 9), k))
        save_idx(folder / f"{split}-labels-idx1-ubyte{suffix}", (np.arange(n) % 4).astype(np.uint8))
    return folder


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx(tmp_path: Path, suffix: str) -> None:
    folder = save_mnist(tmp_path / "mnist", suffix)
    (folder / "SOURCE.md").write_text("about")
    train, test = both(folder)
    assert (len(train), len(test), train.spec.shape, train.spec.classes) == (20, 5, (1, 7, 9), 4)
    assert np.array_equal(every_row(train)[:, 0].numpy(), noise((20, 7, 9), 0)) and labels(test) == [0, 1, 2, 3, 0]
    one, held = both(folder / f"train-images-idx3-ubyte{suffix}")
    assert (len(one), len(held)) == (16, 4)
    assert both(folder, size=8)[1].spec.shape == (1, 8, 8)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "keys", ["x y", "images labels", "arr_0 arr_1", "x_train y_train x_test y_test", "train_images train_labels"]
)
def test_npz(tmp_path: Path, save: Any, keys: str) -> None:
    arrays = {}
    for k, key in enumerate(keys.split()):
        n = 5 if "test" in key else 40
        arrays[key] = np.arange(n) % 3 if k % 2 else noise((n, 8, 6, 3), k)
    save(tmp_path / "set.npz", **arrays)
    train, test = both(tmp_path / "set.npz")
    assert len(train) + len(test) == (45 if "test" in keys else 40)
    assert train.spec.shape == (3, 8, 6) and train.spec.classes == 3
    assert len(test) == (5 if "test" in keys else 8)


@pytest.mark.parametrize(
    ("shape", "dtype", "row"),
    [
        ((20, 8, 6), np.uint8, (1, 8, 6)),
        ((20, 3, 8, 6), np.uint8, (3, 8, 6)),
        ((20, 8, 6, 4), np.uint8, (4, 8, 6)),
        ((20, 2, 8, 6), np.uint16, (2, 8, 6)),
        ((20, 8, 6, 3), ">u2", (3, 8, 6)),
        ((20, 8, 6, 3), np.float32, (3, 8, 6)),
        ((20, 8, 6, 3), np.float64, (3, 8, 6)),
        ((20, 5), np.float64, (5,)),
        ((20, 5), np.int64, (5,)),
    ],
)
def test_npy(tmp_path: Path, shape: tuple[int, ...], dtype: Any, row: tuple[int, ...]) -> None:
    whole = np.dtype(dtype).kind == "u"
    array = noise(shape, dtype=np.uint16).astype(dtype) if whole else (noise(shape) / 127.5 - 1).astype(dtype)
    np.save(tmp_path / "set.npy", array)
    np.save(tmp_path / "set_labels.npy", np.arange(20) % 5)
    train, test = both(tmp_path / "set.npy")
    assert train.spec.shape == row and len(train) + len(test) == 20 and train.spec.classes == 5
    x = open_source(f"{tmp_path / 'set.npy'}#all").read(torch.arange(20))
    expected = array[:, None] if array.ndim == 3 else np.moveaxis(array, -1, 1) if row[0] == shape[-1] else array
    assert np.array_equal(x.numpy().reshape(expected.shape), expected.astype(x.numpy().dtype))
    if len(row) == 3:
        resized = open_source(tmp_path / "set.npy", size=10)
        assert resized.spec.shape == (row[0], 10, 10)
        assert resized.read(torch.arange(1)).dtype == train.read(torch.arange(1)).dtype


def save_parquet(path: Path, rows: range, struct: bool, label: Any = None) -> None:
    import pyarrow.parquet as pq

    cells = [png(noise((8, 8, 3), i)) for i in rows]
    image = [{"bytes": c, "path": f"{i}.png"} for i, c in zip(rows, cells)] if struct else cells
    columns = {"image": image} | ({} if label is None else {"label": [label(i) for i in rows]})
    pq.write_table(pa.table(columns), path, row_group_size=3)


@pytest.mark.parametrize("struct", [True, False])
def test_parquet(tmp_path: Path, struct: bool) -> None:
    save_parquet(tmp_path / "a.parquet", range(20), struct, lambda i: i % 3)
    data = open_source(f"{tmp_path / 'a.parquet'}#all")
    assert len(data) == 20 and data.spec.shape == (3, 8, 8) and labels(data) == [i % 3 for i in range(20)]
    assert np.array_equal(every_row(data)[7].numpy(), noise((8, 8, 3), 7).transpose(2, 0, 1))


def test_a_folder_of_parquet_files_names_its_splits(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for k in range(2):
        save_parquet(tmp_path / "data" / f"train-0000{k}-of-00002.parquet", range(10 * k, 10 * k + 10), True, str)
    save_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", range(50, 54), True, str)
    train, test = both(tmp_path)
    assert (len(train), len(test), train.spec.classes) == (20, 4, 24)


def test_a_parquet_without_images_is_refused(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"age": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="no column holds image bytes; it has age"):
        open_source(tmp_path / "a.parquet")


def test_optional_packages_are_named_when_they_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").write_bytes(b"")
    for name in ("datasets", "pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r'pip install "gantlet\[data\]"'):
        open_source("hf:somebody/faces")
    with pytest.raises(InputError, match=r'pip install "gantlet\[parquet\]"'):
        open_source(tmp_path / "a.parquet")


class Split(list[dict[str, Any]]):
    """What `datasets` answers for one split, as far as it is used."""

    def __init__(self, rows: list[dict[str, Any]], features: dict[str, Any]) -> None:
        super().__init__(rows)
        self.features = features

    def cast_column(self, name: str, feature: Any) -> Split:
        assert feature.decode is False
        return self

    def __getitem__(self, key: Any) -> Any:
        return [row[key] for row in self] if isinstance(key, str) else super().__getitem__(key)


def test_hub_data_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    hub: Any = types.ModuleType("datasets")
    hub.Image = type("Image", (), {"__init__": lambda self, decode=True: setattr(self, "decode", decode)})
    features = {"img": hub.Image(), "label": types.SimpleNamespace(names=["cat", "dog"])}

    def rows(n: int, first: int) -> Split:
        cells = [{"img": {"bytes": png(noise((8, 8, 3), first + i)), "path": None}, "label": i % 2} for i in range(n)]
        return Split(cells, features)

    asked: list[Any] = []

    def load(name: str, config: str | None) -> dict[str, Split]:
        asked.append((name, config))
        if name != "somebody/pets":
            raise FileNotFoundError("there is none")
        return {"train": rows(6, 0), "validation": rows(4, 50)}

    hub.load_dataset = load
    monkeypatch.setitem(sys.modules, "datasets", hub)
    train, test = both("hf:somebody/pets/small")
    assert asked[0] == ("somebody/pets", "small")
    assert (len(train), len(test), train.class_names, labels(test)) == (6, 4, ("cat", "dog"), [0, 1, 0, 1])
    with pytest.raises(InputError, match="hf:nobody/none cannot be loaded: there is none"):
        open_source("hf:nobody/none")


def test_one_archive_in_a_folder_is_opened_and_said(tmp_path: Path, said: list[str]) -> None:
    tree = save_tree(tmp_path / "tree")
    home = tmp_path / "home"
    home.mkdir()
    zipped(tree, home / "set.zip")
    (home / "SOURCE.md").write_text("about")
    (home / "captions.tsv").write_text("a\tb")
    assert len(open_source(home, say=said.append)) == 6
    assert any("the one data file in it, set.zip" in line for line in said)
    zipped(tree, home / "other.zip")
    with pytest.raises(InputError, match=r"several data files \(other.zip, set.zip\); name one"):
        open_source(home)


def test_train_zip_and_test_zip_are_splits(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for k, split in enumerate(("train", "test")):
        for name in ("cat", "dog", "owl")[: 2 + k]:
            save_pngs(tmp_path / split / name, 3, first=100 * k + 10 * len(name) + ord(name[0]))
        zipped(tmp_path / split, home / f"pets_{split}.zip")
    train, test = both(home)
    assert (len(train), len(test), train.class_names) == (6, 9, ("cat", "dog", "owl"))
    assert labels(test) == [0] * 3 + [1] * 3 + [2] * 3


@pytest.mark.parametrize("make", [torch.from_numpy, lambda a: a])
def test_arrays_in_memory(make: Any) -> None:
    data = open_source(make(noise((40, 3, 8, 8))))
    assert len(data) == 32 and data.spec.shape == (3, 8, 8)
    again = open_source(make(noise((40, 3, 8, 8))), split="test")
    assert len(again) == 8 and again.fingerprint == data.fingerprint
    assert open_source(make(noise((40, 3, 8, 8), 1))).fingerprint != data.fingerprint
    points = open_source(make((noise((40, 2)) / 10).astype(np.float32)), split="all")
    assert points.spec.shape == (2,) and float(points.rows(torch.arange(40)).x.max()) > 20
    assert open_source(make(noise((40, 3, 8, 8))), size=16, channels=1).spec.shape == (1, 16, 16)


def test_a_data_set_is_a_source() -> None:
    data = open_source("digits")
    assert open_source(data) is data
    assert open_source(data, split="test").split == "test"
    test = open_source("digits#test")
    assert open_source(test) is test
    with pytest.raises(InputError, match="is not resized here"):
        open_source(data, size=16)


def test_digits_are_the_real_ones() -> None:
    data = open_source("digits#all")
    assert len(data) == 1797 and data.spec.shape == (1, 8, 8) and data.spec.classes == 10
    y = data.labels_array()
    assert y is not None and y.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert every_row(data)[0, 0, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]
    assert open_source("digits").spec.count == 1797 - 90


def test_a_gz_or_bz2_tar_is_told_by_its_content(tmp_path: Path) -> None:
    tar = tarred(save_tree(tmp_path / "tree"), tmp_path / "plain.tar")
    (tmp_path / "wrong.tar").write_bytes(bz2.compress(tar.read_bytes()))
    assert len(open_source(tmp_path / "wrong.tar")) == 6
    (tmp_path / "cut.tar.gz").write_bytes(gzip.compress(tar.read_bytes())[:-500])
    with pytest.raises(InputError, match=r"cut.tar.gz: this compressed file is damaged"):
        open_source(tmp_path / "cut.tar.gz")
