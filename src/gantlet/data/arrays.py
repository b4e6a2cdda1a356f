"""Readers of arrays: idx, npz, npy, tensors, and the embedded digits."""

from __future__ import annotations

import gzip
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.data.cache import DiskFull, Mapped, unpacked
from gantlet.data.containers import digest, file_mark, plain
from gantlet.data.dataset import Array, Store
from gantlet.data.holdout import row_hash
from gantlet.data.listing import Say, split_word
from gantlet.data.stack import Stack
from gantlet.data.stores import Held, Part

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def is_idx(path: Path) -> bool:
    """Is this an idx file by name (`...-idx3-ubyte`, `.idx`, with or without .gz)?"""
    return re.search(r"[.-]idx\d?(-ubyte)?(\.gz)?$", path.name) is not None


def idx_array(path: Path, say: Say) -> Store:
    """One idx file; a compressed one is unpacked into the cache once."""
    try:
        return _idx_mapped(plain(path, ".idx"))
    except DiskFull as full:
        say(f"{path}: not unpacked: {full}; it is held in memory")
    with gzip.open(path) as file:
        data = file.read()
    shape, dtype, offset = _idx_header(path, data[:64])
    return Held(np.frombuffer(data, dtype, int(np.prod(shape)), offset).reshape(shape))


def _idx_header(path: Path, head: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX_TYPES or len(head) < 4 + 4 * head[3]:
        raise InputError(f"{path}: not an idx file (it begins with {head[:4].hex()}); fetch it again")
    dims = head[3]
    return struct.unpack(f">{dims}i", head[4 : 4 + 4 * dims]), np.dtype(_IDX_TYPES[head[2]]), 4 + 4 * dims


def _idx_mapped(path: Path) -> Store:
    with path.open("rb") as file:
        shape, dtype, offset = _idx_header(path, file.read(64))
    try:
        return Mapped(path, shape, dtype, offset=offset)
    except ValueError as error:
        raise InputError(f"{error}; fetch it again") from error


def idx(path: Path, say: Say) -> Stack:
    """An idx file with its neighbours (train-images.., train-labels.., t10k-..), or a folder of them."""
    files = sorted(p for p in (path if path.is_dir() else path.parent).iterdir() if is_idx(p) and p.is_file())
    unzipped = {p.name for p in files}
    files = [p for p in files if not (p.suffix == ".gz" and p.stem in unzipped)]
    images = [p for p in files if "label" not in p.name]
    if not path.is_dir() and "label" not in path.name:
        images = [path]
    labels = {p.name.replace("labels", "images").split("idx")[0]: p for p in files if "label" in p.name}
    parts = []
    for image in images:
        label = labels.get(image.name.split("idx")[0])
        y = None if label is None else _all_rows(idx_array(label, say))
        parts.append(Part(split_word(image.name), idx_array(image, say), y))
    if not parts:
        raise InputError(f"{path}: there are idx labels but no idx images")
    used = [*images, *labels.values()]
    return Stack("idx", digest("idx", [(p.name, file_mark(p)) for p in used]), str(path), parts, say)


def _all_rows(store: Store) -> Array:
    return store.take(np.arange(store.shape[0]))


def npy(path: Path, say: Say) -> Stack:
    """One array; labels in `<name>_labels.npy` or `labels.npy` beside it."""
    beside = [p for p in (path.with_name(f"{path.stem}_labels.npy"), path.with_name("labels.npy")) if p.exists()]
    labels = _load(beside[0]) if beside and beside[0] != path else None
    mark = digest("npy", file_mark(path), [file_mark(p) for p in beside])
    return Stack("npy", mark, str(path), [Part("", npy_array(path), labels)], say)


def _load(path: Path) -> Array:
    try:
        array: Array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: this array cannot be read: {error}") from error
    return array


def npy_array(path: Path) -> Store:
    """An .npy file, read through a map; InputError when it is damaged or holds objects."""
    try:
        return Mapped.npy(path)
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: this array cannot be read: {error}") from error


_X_WORDS = ("x", "images", "image", "imgs", "data", "samples", "points", "arr", "0")
_Y_WORDS = ("y", "labels", "label", "targets", "target", "classes", "1")


def npz(path: Path, say: Say) -> Stack:
    """Arrays by key: images under x, images, data, arr_0, labels under y, labels; splits as in `x_train`."""
    try:
        with zipfile.ZipFile(path) as archive:
            keys = [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path}: this npz cannot be read ({error}); fetch it again") from error
    x = {split_word(k): k for k in keys if _speaks(k, _X_WORDS) and not _speaks(k, _Y_WORDS)}
    y = {split_word(k): k for k in keys if _speaks(k, _Y_WORDS)}
    x = x or ({"": keys[0]} if len(keys) == 1 else {})
    if not x:
        raise InputError(
            f"{path}: no key says images (x, images, data, arr_0); it has {', '.join(keys) or 'no arrays'}"
        )
    mark = file_mark(path)
    parts = [
        Part(
            split, _member(path, key, mark, say), _all_rows(_member(path, y[split], mark, say)) if split in y else None
        )
        for split, key in x.items()
    ]
    return Stack("npz", digest("npz", mark), str(path), parts, say)


def _speaks(key: str, words: tuple[str, ...]) -> bool:
    return any(w in words for w in re.split(r"[^a-z0-9]+", key.lower()))


def _member(path: Path, key: str, mark: str, say: Say) -> Store:
    """One array of an npz, unpacked into the cache so that it can be mapped; in memory where there is no room."""
    name = f"{key}.npy"
    try:
        with zipfile.ZipFile(path) as archive:
            return npy_array(unpacked(digest(mark, key), ".npy", lambda: archive.open(name)))
    except DiskFull as full:
        say(f"{path}: {key} not unpacked: {full}; it is held in memory")
    with np.load(path, allow_pickle=False) as arrays:
        return Held(arrays[key])


def digits(say: Say) -> Stack:
    """1,797 real handwritten digits, 8 x 8: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits",
    UCI Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0 (0..16 scaled to 0..255).
    """
    with np.load(Path(__file__).with_name("digits.npz")) as arrays:
        part = Part("", Held(arrays["images"]), arrays["labels"])
    return Stack("digits", digest("digits", 1), "digits", [part], say)


def tensor(data: Tensor | Array, say: Say) -> Stack:
    """An array in memory, by its content."""
    array: Array = data.detach().cpu().numpy() if isinstance(data, Tensor) else np.asarray(data)
    mark = digest("tensor", array.shape, array.dtype.str, row_hash(array)) if array.size else "empty"
    return Stack("tensor", mark, "the array", [Part("", Held(array))], say)
