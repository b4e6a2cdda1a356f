"""Pictures still to be decoded: the scan of their headers, the plan for them, the pass that decodes each once."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median_low
from typing import Any, NamedTuple

import numpy as np

from gantlet.core.errors import InputError
from gantlet.data import decode
from gantlet.data.containers import Container
from gantlet.data.dataset import Array
from gantlet.data.decode import UNREADABLE, Look
from gantlet.data.fit import Plan
from gantlet.data.holdout import row_hash
from gantlet.data.listing import Listing, Say, list_images

LEAST_SIDE, MOST_SIDE = 4, 4096
_DTYPES = {8: np.uint8, 16: np.uint16, 32: np.float32}


class Pictures(ABC):
    """Rows that are pictures of any size and mode, by number."""

    kind: str
    fingerprint: str

    @abstractmethod
    def listing(self) -> Listing:
        """Names, splits and labels of all rows."""

    @abstractmethod
    def look(self, row: int) -> Look: ...

    @abstractmethod
    def picture(self, row: int) -> Array:
        """[H, W, C], decoded."""


class Encoded(Pictures):
    """Pictures as files in a container."""

    def __init__(self, container: Container, where: str, say: Say) -> None:
        self.kind, self.fingerprint = container.kind, container.fingerprint
        self._container, self._where, self._say = container, where, say

    @cached_property
    def _files(self) -> tuple[Callable[[str], bytes], Listing]:
        files = self._container.files()
        return files.read, list_images(files, self._where, self._say)

    def listing(self) -> Listing:
        return self._files[1]

    def _data(self, row: int) -> bytes:
        read, listing = self._files
        return read(listing.names[row])

    def look(self, row: int) -> Look:
        return decode.look(self._data(row))

    def picture(self, row: int) -> Array:
        return decode.picture(self._data(row))


@dataclass(frozen=True)
class Request:
    """What was asked of the pictures; part of the key under which the result is cached."""

    size: int | tuple[int, int] | None = None
    channels: int | None = None
    fit: str = "crop"
    bad_files: float = 0.01

    def __post_init__(self) -> None:
        sides = self.sides or (LEAST_SIDE, LEAST_SIDE)
        if not all(LEAST_SIDE <= side <= MOST_SIDE for side in sides):
            raise InputError(f"size={self.size}: a side must be {LEAST_SIDE} to {MOST_SIDE} pixels")
        if self.channels not in (None, 1, 2, 3, 4):
            raise InputError(f"channels={self.channels}: must be 1 (grey), 2 (grey + alpha), 3 (RGB) or 4 (RGBA)")
        Plan(4, 4, 1, np.dtype(np.uint8), self.fit)

    @property
    def sides(self) -> tuple[int, int] | None:
        """(height, width) when a size was asked for."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def key(self) -> str:
        return f"{self.sides} {self.channels} {self.fit}"


@dataclass
class Scan:
    """What the headers of all rows say."""

    looks: Counter[Look] = field(default_factory=Counter)
    bad: dict[int, str] = field(default_factory=dict)  # row -> why it cannot be read


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()).split(" <_io")[0]
    return (text or type(error).__name__)[:120]


def _pooled(rows: Sequence[int], work: Callable[[int], Any], block: int) -> Iterator[tuple[int, Any]]:
    """(row, result) in order, computed by a few threads, at most `block` results waiting."""
    threads = os.cpu_count() or 1
    group = max(1, min(32, block // (4 * threads)))  # handing over one small picture costs as much as decoding it

    def several(part: Sequence[int]) -> list[Any]:
        return [work(row) for row in part]

    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(rows), block):
            part = rows[first : first + block]
            groups = [part[i : i + group] for i in range(0, len(part), group)]
            yield from zip(part, (result for results in pool.map(several, groups) for result in results))


def scan(pictures: Pictures, rows: Sequence[int]) -> Scan:
    """Read every header."""

    def work(row: int) -> Look | str:
        try:
            return pictures.look(row)
        except UNREADABLE as error:
            return _reason(error)

    out = Scan()
    for row, found in _pooled(rows, work, 4096):
        if isinstance(found, Look):
            out.looks[found] += 1
        else:
            out.bad[row] = found
    return out


class Decoded(NamedTuple):
    row: Array
    hash: int  # of the picture as the file has it: the held-out rows are the same at every size


def decode_all(
    pictures: Pictures,
    rows: Sequence[int],
    change: Callable[[Array], Array],
    write: Callable[[Array], None],
    bad: dict[int, str],
    *,
    block: int = 128,
) -> tuple[list[int], Array]:
    """Decode every row once and `write` what it is changed to, in order; answers the readable rows and their hashes.

    At most `block` changed rows wait in memory. What cannot be read goes to `bad`, with the reason.
    """

    def work(row: int) -> Decoded | str:
        try:
            picture = pictures.picture(row)
            return Decoded(change(picture), row_hash(picture))
        except UNREADABLE as error:
            return _reason(error)

    kept: list[int] = []
    hashes: list[int] = []
    for row, found in _pooled(rows, work, block):
        if isinstance(found, str):
            bad[row] = found
            continue
        write(found.row)
        kept.append(row)
        hashes.append(found.hash)
    return kept, np.array(hashes, np.uint64)


def check_bad(where: str, names: Sequence[str], bad: dict[int, str], allowed: float) -> None:
    """InputError when more than the share `allowed` of the files cannot be read."""
    if len(bad) <= allowed * len(names) and len(bad) < len(names):
        return
    shown = "; ".join(f"{names[row]}: {why}" for row, why in list(bad.items())[:5])
    way = (
        "none is left" if len(bad) == len(names) else f"remove them, or allow more with bad_files={_above(bad, names)}"
    )
    raise InputError(f"{where}: {len(bad)} of {len(names)} files cannot be read ({shown}); {way}")


def _above(bad: dict[int, str], names: Sequence[str]) -> float:
    return int(len(bad) / len(names) * 100 + 1) / 100


def plan_for(where: str, looks: Counter[Look], request: Request, say: Say) -> Plan:
    """The shape all rows take: as asked, otherwise the one they have or the most sensible one, said aloud."""
    sizes: Counter[tuple[int, int]] = Counter()
    for seen, count in looks.items():
        sizes[seen.height, seen.width] += count
    sides = request.sides or _sides(where, sizes, say)
    upscaled = sum(n for (h, w), n in sizes.items() if h < sides[0] or w < sides[1])
    if upscaled:
        say(f"{where}: {upscaled} of {looks.total()} images are smaller than {sides[0]} x {sides[1]} and are enlarged")
    for what, count in _oddities(looks).items():
        say(f"{where}: {count} {what}")
    dtype = np.dtype(_DTYPES[max(seen.bits for seen in looks)])
    return Plan(*sides, request.channels or _channels(where, looks, say), dtype, request.fit)


def _oddities(looks: Counter[Look]) -> dict[str, int]:
    tests: dict[str, Callable[[Look], bool]] = {
        "animated images: the first frame is used": lambda s: s.animated,
        "16-bit colour images are read at 8 bits (to keep 16, give uint16 npy)": lambda s: s.narrowed,
    }
    counts = {what: sum(n for s, n in looks.items() if test(s)) for what, test in tests.items()}
    return {what: count for what, count in counts.items() if count}


def _sides(where: str, sizes: Counter[tuple[int, int]], say: Say) -> tuple[int, int]:
    if len(sizes) == 1:
        return _allowed(where, next(iter(sizes)))
    short = median_low(sorted(min(s) for s in sizes.elements()))
    side = 1 << (max(16, min(256, short)).bit_length() - 1)
    say(f"{where}: {len(sizes)} sizes, median short side {short}: using {side} x {side} (set size= for another)")
    return side, side


def _allowed(where: str, sides: tuple[int, int]) -> tuple[int, int]:
    if not all(LEAST_SIDE <= side <= MOST_SIDE for side in sides):
        raise InputError(
            f"{where}: the images are {sides[0]} x {sides[1]}; a side must be {LEAST_SIDE} to {MOST_SIDE}: give size="
        )
    return sides


def _channels(where: str, looks: Counter[Look], say: Say) -> int:
    """The fewest channels that lose nothing."""
    modes = {seen.channels for seen in looks}
    channels = (3 if modes & {3, 4} else 1) + (1 if modes & {2, 4} else 0)
    if len(modes) > 1:
        counts = Counter({m: sum(n for s, n in looks.items() if s.mode == m) for m in {s.mode for s in looks}})
        mixed = ", ".join(f"{count} {mode}" for mode, count in counts.most_common())
        say(f"{where}: mixed modes ({mixed}): using {channels} channels (set channels= for another)")
    return channels
