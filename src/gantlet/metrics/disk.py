"""Features of real sets, kept in the cache between evaluations under what they are of."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from gantlet.data.cache import DiskFull, cache_folder, written_aside
from gantlet.data.containers import digest

VERSION = 1


def remembered(name: str, key: str, make: Callable[[], Tensor]) -> Tensor:
    """`make()`, or what it answered before for the same set and features; a full disk or a damaged file costs time only."""
    path = cache_folder() / "features" / f"{digest('features', VERSION, name, key)}.safetensors"
    if path.is_file():
        with suppress(OSError, SafetensorError, KeyError):
            return load_file(path)["features"]
    made = make()
    with suppress(DiskFull), written_aside(path, wanted=made.nbytes) as file:
        file.write(save({"features": made.cpu().contiguous()}))
    return made
