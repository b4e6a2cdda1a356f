"""The cache on disk: arrays written aside and renamed, read through memory maps that do not pile up in memory."""

from __future__ import annotations

import errno
import json
import mmap
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from gantlet.core.errors import InputError
from gantlet.data.dataset import Array

VERSION = 1  # of everything written here: another version is simply not found
_KEEP_FREE = 1 << 30  # bytes, or a twentieth of the disk where that is less
_RESIDENT = 64 << 20  # bytes of a map that may stay in this process' memory


def cache_folder() -> Path:
    """$GANTLET_CACHE, or the platform's cache folder."""
    if given := os.environ.get("GANTLET_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "gantlet"


class DiskFull(Exception):
    """Writing would leave too little room; whoever wanted to cache goes on without."""


def check_room(folder: Path, wanted: int) -> None:
    """DiskFull when `wanted` more bytes would leave neither 1 GiB nor a twentieth of the disk free."""
    usage = shutil.disk_usage(folder)
    if usage.free - wanted < min(_KEEP_FREE, usage.total // 20):
        raise DiskFull(f"{wanted >> 20} MiB would fill the disk of {folder} ({usage.free >> 20} MiB free)")


@contextmanager
def written_aside(path: Path, *, wanted: int = 0) -> Iterator[IO[bytes]]:
    """A file that appears at `path` complete or not at all, also with several writers; DiskFull when it cannot fit."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        check_room(path.parent, wanted)
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        file = aside.open("wb")
    except OSError as error:
        raise DiskFull(f"{path.parent} cannot be written ({error.strerror}); set GANTLET_CACHE to another") from error
    try:
        with file:
            yield file
        aside.replace(path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(f"{path.parent}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            aside.unlink()


def copy_in(reader: IO[bytes], path: Path) -> Path:
    """Copy a stream of unknown length to `path`, watching the disk."""
    with written_aside(path) as out:
        while block := reader.read(1 << 24):
            check_room(path.parent, len(block))
            out.write(block)
    return path


def unpacked(key: str, suffix: str, opened: Callable[[], IO[bytes]]) -> Path:
    """What a compressed stream holds, unpacked into the cache the first time it is asked for."""
    path = cache_folder() / "unpacked" / f"{key}{suffix}"
    if path.exists():
        return path
    with opened() as reader:
        return copy_in(reader, path)


class Mapped:
    """An array in a file, read row by row through a memory map that gives its pages back."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], *, offset: int = 0) -> None:
        self.shape, self.dtype = shape, dtype
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        count = int(np.prod(shape))
        if offset + count * dtype.itemsize > len(self._map):
            raise ValueError(f"{path} is shorter than its header says")
        self._array: Array = np.frombuffer(self._map, dtype, count, offset).reshape(shape)

    @classmethod
    def npy(cls, path: Path) -> Mapped:
        """The array of an .npy file; ValueError when it is damaged, holds objects or is in column order."""
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in read:
                raise ValueError(f"{path}: npy version {version} is not known here")
            shape, columns, dtype = read[version](file)
            offset = file.tell()
        if dtype.hasobject or (columns and len(shape) > 1):
            raise ValueError(f"{path} holds {'Python objects' if dtype.hasobject else 'an array in column order'}")
        return cls(path, shape, dtype, offset=offset)

    def take(self, rows: Array) -> Array:
        out: Array = self._array[rows]
        if len(self._map) > _RESIDENT and hasattr(self._map, "madvise"):  # one touched row may map 2 MiB around it
            self._map.madvise(mmap.MADV_DONTNEED)  # the file stays in the system's cache; only our share goes
        return out


class Entry:
    """One cached array with what belongs to it: `<key>.npy`, side arrays `<key>.<name>.npy`, and `<key>.json` last."""

    def __init__(self, key: str) -> None:
        self._base = cache_folder() / "arrays" / key

    def path(self, suffix: str) -> Path:
        return self._base.with_name(self._base.name + suffix)

    def meta(self) -> dict[str, Any] | None:
        """The entry's description when it is whole: version, and every file as long as it was; None otherwise."""
        try:
            meta: dict[str, Any] = json.loads(self.path(".json").read_text())
            sizes = meta["files"].items()
            whole = meta["version"] == VERSION and all(self.path(s).stat().st_size == size for s, size in sizes)
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return None
        return meta if whole else None

    def save_side(self, name: str, array: Array) -> None:
        with written_aside(self.path(f".{name}.npy"), wanted=array.nbytes) as file:
            np.save(file, array, allow_pickle=False)

    def side(self, name: str) -> Array:
        array: Array = np.load(self.path(f".{name}.npy"), allow_pickle=False)
        return array

    def close(self, meta: dict[str, Any]) -> None:
        """Write the description; from here on the entry is found."""
        names = [p.name for p in self._base.parent.glob(f"{self._base.name}*.npy")]
        files = {n.removeprefix(self._base.name): (self._base.parent / n).stat().st_size for n in names}
        with written_aside(self.path(".json")) as file:
            file.write(json.dumps({"version": VERSION, "files": files, **meta}).encode())


class Rowwise:
    """Writes an .npy whose number of rows is known only at the end; the header is rewritten in place."""

    def __init__(self, file: IO[bytes], row: tuple[int, ...], dtype: np.dtype[Any], most: int) -> None:
        self._file, self._row, self._dtype, self.rows = file, row, dtype, 0
        self._header(most)
        self._start = file.tell()

    def _header(self, rows: int) -> None:
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (rows, *self._row),
        }
        np.lib.format.write_array_header_1_0(self._file, header)

    def write(self, row: Array) -> None:
        self._file.write(np.ascontiguousarray(row).data)
        self.rows += 1

    def close(self) -> None:
        self._file.seek(0)
        self._header(self.rows)
        if self._file.tell() != self._start:  # numpy pads headers for the rows to grow; never seen otherwise
            raise InputError("this numpy writes .npy headers of varying length; update numpy")
