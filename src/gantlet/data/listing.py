"""What names say: which files are images, which split each is in, which class."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from gantlet.core.errors import InputError
from gantlet.data.containers import Files
from gantlet.data.dataset import Array
from gantlet.data.decode import EXTENSIONS

SPLIT_WORDS = {"train": "train", "training": "train", "test": "test", "testing": "test", "t10k": "test"}
SPLIT_WORDS |= {"val": "val", "valid": "val", "validation": "val"}
ORDER = {"train": 0, "test": 1, "val": 2, "": 3}  # in which a store keeps its splits
_FILE_COLUMNS = ("file", "filename", "file_name", "image", "path", "name", "fname")
_LABEL_COLUMNS = ("label", "labels", "class", "y", "category")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Listing:
    """The rows of a source before any is decoded."""

    names: Sequence[str]
    splits: Sequence[str]  # per row, "" where no name says
    labels: Array | None = None  # int64 per row, -1 where missing
    class_names: tuple[str, ...] = ()


def split_word(name: str) -> str:
    """The split a file name speaks of (`train-00000-of-00002.parquet`), or ""."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    return next((SPLIT_WORDS[w] for w in words if w in SPLIT_WORDS), "")


def settle(splits: Sequence[str]) -> list[str]:
    """Splits as named -> as used: a lone test or val is none, val stands in for test, the unnamed for train."""
    there = set(splits)
    if not there & set(SPLIT_WORDS.values()) or there in ({"test"}, {"val"}):
        return [""] * len(splits)
    rename = {s: s for s in there}
    if "test" not in there:
        rename["val"] = "test"
    if "train" not in there and "" in there:
        rename[""] = "train"
    if "train" not in there and "" not in there:  # test and val only
        rename["val"] = "train"
    return [rename[s] for s in splits]


def list_images(files: Files, where: str, say: Say) -> Listing:
    """The images of a container with their splits and labels; InputError when there is none."""
    names = [n for n in files.names if PurePosixPath(n).suffix.lower() in EXTENSIONS]
    if not names:
        kinds = ", ".join(sorted(e[1:] for e in EXTENSIONS))
        raise InputError(f"{where}: no images in it ({len(files.names)} files); looked for {kinds}")
    found = [_split_of(n) for n in names]
    splits = settle([split for split, _ in found])
    below = [rest if split else n for split, (_, rest), n in zip(splits, found, names)]
    labels, class_names = _labels(files, names, below, where, say)
    return Listing(names, splits, labels, class_names)


def _split_of(name: str) -> tuple[str, str]:
    """(split, the path below its folder) by the outermost folder that names one."""
    parts = name.split("/")
    for depth, part in enumerate(parts[:-1]):
        if part.lower() in SPLIT_WORDS:
            return SPLIT_WORDS[part.lower()], "/".join(parts[depth + 1 :])
    return "", name


def _labels(
    files: Files, names: list[str], below: list[str], where: str, say: Say
) -> tuple[Array | None, tuple[str, ...]]:
    for table, read in _TABLES.items():
        tables = [n for n in files.names if PurePosixPath(n).name == table]
        given: dict[str, str] = {}
        for name in tables:
            given |= _placed(read(files.read(name).decode("utf-8-sig")), name, names, where)
        if given:
            return _numbered([given.get(n) for n in names], where, say)
    folders = [PurePosixPath(b).parent.name for b in below]
    if len(set(folders)) < 2 or "" in folders:
        return None, ()
    return _numbered(folders, where, say)


def _placed(given: Mapping[str, str], table: str, names: list[str], where: str) -> dict[str, str]:
    """Labels by the table's own names -> by the container's; InputError for files that are not there."""
    base = PurePosixPath(table).parent
    known = set(names)
    alone = _by_basename(names)
    placed = {}
    missing = []
    for file, label in given.items():
        full = (base / file.replace("\\", "/")).as_posix()
        full = full if full in known else alone.get(file, "")
        if full:
            placed[full] = label
        else:
            missing.append(file)
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise InputError(
            f"{where}: {table} names {len(missing)} files that are not there ({shown}); remove those lines"
        )
    return placed


def _by_basename(names: Iterable[str]) -> dict[str, str]:
    """Base name -> full name, where that is one file."""
    out: dict[str, str] = {}
    for name in names:
        base = PurePosixPath(name).name
        out[base] = "" if base in out else name
    return out


def _read_csv(text: str) -> dict[str, str]:
    lines = [row for row in csv.reader(io.StringIO(text)) if len(row) >= 2]
    if not lines:
        return {}
    header = [cell.strip().lower() for cell in lines[0]]
    file = next((i for i, cell in enumerate(header) if cell in _FILE_COLUMNS), None)
    label = next((i for i, cell in enumerate(header) if cell in _LABEL_COLUMNS), None)
    if file is None or label is None:
        return {row[0].strip(): row[1].strip() for row in lines}
    return {row[file].strip(): row[label].strip() for row in lines[1:] if len(row) > max(file, label)}


def _read_json(text: str) -> dict[str, str]:
    """StyleGAN's dataset.json, {"labels": [[file, class], ...]} or {"labels": {file: class}}; vectors are none."""
    try:
        given: Any = json.loads(text)
    except ValueError:
        return {}
    labels = given.get("labels") if isinstance(given, dict) else None
    pairs = list(labels.items()) if isinstance(labels, dict) else labels or []
    return {str(p[0]): str(p[1]) for p in pairs if len(p) == 2 and isinstance(p[1], int | str)}


_TABLES: dict[str, Callable[[str], dict[str, str]]] = {"labels.csv": _read_csv, "dataset.json": _read_json}


def _numbered(given: Sequence[str | None], where: str, say: Say) -> tuple[Array, tuple[str, ...]]:
    """Class names -> numbers: whole numbers stay what they are, names are counted in sorted order, None is -1."""
    there = sorted({g for g in given if g is not None})
    bare = sum(g is None for g in given)
    if bare:
        say(f"{where}: {bare} of {len(given)} images have no label (-1)")
    if all(re.fullmatch(r"\d{1,4}", t) and str(int(t)) == t for t in there):
        names = tuple(str(i) for i in range(max(int(t) for t in there) + 1))
    else:
        names = tuple(there)
    number: dict[str | None, int] = {n: i for i, n in enumerate(names)}
    return np.array([number.get(g, -1) for g in given], np.int64), names
