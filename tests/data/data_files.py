"""Small files of every format."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, np.dtype[Any]]


def noise(shape: tuple[int, ...], seed: int = 0, dtype: Any = np.uint8) -> Array:
    """Reproducible numbers over the whole range of an unsigned dtype."""
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def png(array: Array, mode: str | None = None) -> bytes:
    """uint8 [H, W(, C)] or uint16 [H, W] as a PNG."""
    out = io.BytesIO()
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(out, format="PNG")
    return out.getvalue()


def save_pngs(folder: Path, n: int, shape: tuple[int, ...] = (8, 8, 3), first: int = 0) -> Path:
    """n different PNGs named 000.png, 001.png, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + n):
        (folder / f"{i:03}.png").write_bytes(png(noise(shape, i)))
    return folder


def save_tree(root: Path, shape: tuple[int, ...] = (8, 8, 3)) -> Path:
    """train/ and test/ with classes cat and dog: 6 + 4 images."""
    for k, (split, n) in enumerate({"train": 3, "test": 2}.items()):
        for c, name in enumerate(("cat", "dog")):
            save_pngs(root / split / name, n, shape, first=100 * k + 10 * c)
    return root


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


def tarred(folder: Path, path: Path, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        archive.add(folder, arcname=".")
    return path


def save_idx(path: Path, array: Array) -> Path:
    """uint8 of any rank as idx, compressed when the name says so."""
    data = struct.pack(f">HBB{array.ndim}i", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path
