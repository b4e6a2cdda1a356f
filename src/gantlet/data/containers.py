"""Folders, zips and tars seen alike: names, and bytes by name."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from gantlet.core.errors import InputError
from gantlet.data.cache import DiskFull, unpacked

_DAMAGED = (EOFError, lzma.LZMAError, OSError, zipfile.BadZipFile, tarfile.TarError)


@dataclass(frozen=True)
class Files:
    """The files of a container: names with `/`, sorted; hidden ones and what systems leave behind are not seen."""

    names: list[str]
    read: Callable[[str], bytes]


@dataclass(frozen=True)
class Container:
    """A container, opened when it must be: a warm cache asks for the fingerprint alone."""

    kind: str
    fingerprint: str
    files: Callable[[], Files]


def digest(*parts: object) -> str:
    """A short name for what these parts, written out, say."""
    return hashlib.blake2b("\x1f".join(str(p) for p in parts).encode(), digest_size=16).hexdigest()


def _seen(name: str) -> bool:
    return not any(part.startswith((".", "__MACOSX")) for part in name.split("/") if part != ".")


def folder(path: Path) -> Container:
    """A folder of any depth; links to folders are followed once."""
    found: list[tuple[str, int, int]] = []
    walk = [path]
    been: set[tuple[int, int]] = set()
    while walk:
        here = walk.pop()
        stat = here.stat()
        if (stat.st_dev, stat.st_ino) in been:
            continue
        been.add((stat.st_dev, stat.st_ino))
        with os.scandir(here) as entries:
            visible = [e for e in entries if _seen(e.name)]
        walk += [Path(e.path) for e in visible if e.is_dir()]
        stats = [(Path(e.path).relative_to(path).as_posix(), e.stat()) for e in visible if e.is_file()]
        found += [(name, s.st_size, s.st_mtime_ns) for name, s in stats]
    found.sort()
    names = [name for name, _, _ in found]
    return Container("folder", digest("folder", found), lambda: Files(names, lambda name: (path / name).read_bytes()))


def zip_file(path: Path) -> Container:
    """A zip; the directory it ends with is read when it must be, its fingerprint is cheap."""
    return Container("zip", digest("zip", file_mark(path)), lambda: _zip_files(path))


def _zip_files(path: Path) -> Files:
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGED as error:
        raise InputError(f"{path}: this zip cannot be read ({error}); fetch it again") from error
    names = sorted(i.filename for i in archive.infolist() if not i.is_dir() and _seen(i.filename))
    return Files(names, archive.read)


_OPENERS: dict[bytes, Callable[[Path], IO[bytes]]] = {
    b"\x1f\x8b": lambda path: cast(IO[bytes], gzip.GzipFile(path)),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}


def opener(path: Path) -> Callable[[Path], IO[bytes]] | None:
    """How to read a compressed file, by its first bytes; None when it is not compressed."""
    with path.open("rb") as file:
        head = file.read(6)
    return next((opens for magic, opens in _OPENERS.items() if head.startswith(magic)), None)


def file_mark(path: Path) -> str:
    """A cheap fingerprint of one file: size, time, and the bytes of both ends; not its place."""
    stat = path.stat()
    with path.open("rb") as file:
        head = file.read(1 << 16)
        file.seek(max(0, stat.st_size - (1 << 16)))
        return digest(stat.st_size, stat.st_mtime_ns, head.hex(), file.read().hex())


def plain(path: Path, suffix: str) -> Path:
    """The file itself, or what it unpacks to in the cache; DiskFull when that has no room, InputError when damaged."""
    opens = opener(path)
    if opens is None:
        return path
    try:
        return unpacked(file_mark(path), suffix, lambda: opens(path))
    except _DAMAGED as error:
        raise InputError(f"{path}: this compressed file is damaged ({error}); fetch it again") from error


def tar_file(path: Path) -> Container:
    """A tar, compressed or not; a compressed one is unpacked into the cache once, as one plain tar."""
    return Container("tar", digest("tar", file_mark(path)), lambda: _tar_files(path))


def _tar_files(path: Path) -> Files:
    try:
        tar = plain(path, ".tar")
    except DiskFull as full:
        raise InputError(f"{path}: unpacking it needs room: {full}; set GANTLET_CACHE to a larger disk") from full
    try:
        with tarfile.open(tar, "r:") as archive:
            members = [m for m in archive if m.isfile() and _seen(m.name)]
    except _DAMAGED as error:
        raise InputError(f"{path}: this tar is damaged ({error}); fetch it again") from error
    places = {m.name.removeprefix("./"): (m.offset_data, m.size) for m in members}

    def read(name: str) -> bytes:
        offset, size = places[name]
        with tar.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    return Files(sorted(places), read)
