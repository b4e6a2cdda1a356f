"""A SOURCE string -> a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from gantlet.core.errors import InputError, nearest
from gantlet.core.making import said
from gantlet.data import arrays, containers, tables
from gantlet.data.containers import Container
from gantlet.data.dataset import Array, Dataset
from gantlet.data.decode import EXTENSIONS
from gantlet.data.listing import Say, split_word
from gantlet.data.pictures import Encoded, Pictures, Request
from gantlet.data.prepare import Prepared, prepare
from gantlet.data.several import Several
from gantlet.data.toys import TOYS, ToyDataset, parse_toy

KNOWN = ["digits", *(f"toy:{name}" for name in TOYS)]


class Reader(NamedTuple):
    """A standard format: what it is called, whether a path is of it, how it is opened."""

    kind: str
    recognises: Callable[[Path], bool]
    open: Callable[[Path, Say], Pictures]


@runtime_checkable
class Prepares(Protocol):
    """Pictures that can be ready without the cache."""

    def prepare(self, request: Request, where: str, say: Say) -> Prepared: ...


def quiet(text: str) -> None:
    """Says nothing."""


def _named(*suffixes: str) -> Callable[[Path], bool]:
    return lambda path: path.name.lower().endswith(suffixes) and path.is_file()


def _folder_of(test: Callable[[Path], bool]) -> Callable[[Path], bool]:
    """A folder directly in which a file passes the test."""
    return lambda path: path.is_dir() and any(test(p) for p in path.iterdir())


def _either(*tests: Callable[[Path], bool]) -> Callable[[Path], bool]:
    return lambda path: any(test(path) for test in tests)


def _contained(opens: Callable[[Path], Container]) -> Callable[[Path, Say], Pictures]:
    return lambda path, say: Encoded(opens(path), str(path), say)


_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_parquet = _named(".parquet")
FILES = [
    Reader("idx", lambda path: arrays.is_idx(path) and path.is_file(), arrays.idx),
    Reader("npz", _named(".npz"), arrays.npz),
    Reader("npy", _named(".npy"), arrays.npy),
    Reader("parquet", _parquet, tables.parquet),
    Reader("zip", _named(".zip"), _contained(containers.zip_file)),
    Reader("tar", _named(*_TARS), _contained(containers.tar_file)),
]


def _opened_alone(path: Path, say: Say) -> Pictures:
    """The one archive a folder holds, or one a split; InputError when there are others."""
    found = sorted(_archives(path))
    splits = [split_word(p.name) for p in found]
    if len(found) > 1 and all(splits) and len(set(splits)) == len(splits):
        return Several([(split, reader_of(p).open(p, say)) for split, p in zip(splits, found)])
    if len(found) > 1:
        names = ", ".join(sorted(p.name for p in found))
        raise InputError(f"{path}: it holds several data files ({names}); name one of them")
    say(f"{path}: reading the one data file in it, {found[0].name}")
    return reader_of(found[0]).open(found[0], say)


def _archives(path: Path) -> list[Path]:
    return [p for p in path.iterdir() if any(reader.recognises(p) for reader in FILES) and not p.name.startswith(".")]


def _has_images(path: Path) -> bool:
    inside = (p for p in path.rglob("*") if p.suffix.lower() in EXTENSIONS)
    return next(inside, None) is not None


FOLDERS = [
    Reader("idx", _folder_of(FILES[0].recognises), arrays.idx),
    Reader(
        "parquet",
        _either(_folder_of(_parquet), lambda p: (p / "data").is_dir() and _folder_of(_parquet)(p / "data")),
        tables.parquet,
    ),
    Reader("archive", lambda path: path.is_dir() and bool(_archives(path)) and not _has_images(path), _opened_alone),
    Reader("folder", lambda path: path.is_dir(), _contained(containers.folder)),
]
READERS = [*FILES, *FOLDERS]


def reader_of(path: Path) -> Reader:
    """The reader of an existing path; InputError when no reader knows it."""
    found = next((reader for reader in READERS if reader.recognises(path)), None)
    if found is not None:
        return found
    what = "one image; a set needs a folder of them" if path.suffix.lower() in EXTENSIONS else "no known kind of data"
    kinds = "folder, zip, tar(.gz .bz2 .xz), idx(.gz), npz, npy or parquet"
    raise InputError(f"{path}: {what} ({kinds})")


def split_of(source: str) -> tuple[str, str]:
    """`SOURCE#test` -> (SOURCE, "test"); a path that has a # in its name stays whole."""
    if "#" not in source or Path(source).exists():
        return source, ""
    base, _, split = source.rpartition("#")
    return base, split


def find(text: str, say: Say) -> Pictures:
    """The pictures a SOURCE without split names; InputError with the nearest names when it names none."""
    if text == "digits":
        return arrays.digits(say)
    if text.startswith("hf:"):
        return tables.hub(text.removeprefix("hf:"), say)
    path = Path(text).expanduser()
    if not path.exists():
        raise InputError(_missing(text, path))
    return reader_of(path).open(path, say)


def _missing(text: str, path: Path) -> str:
    folder = path.parent
    siblings = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    if not folder.is_dir():
        return f"no data at {text!r}: there is no folder {str(folder)!r}; known sources: {', '.join(KNOWN)}, or a path"
    known = [*siblings, *KNOWN] if str(folder) == "." else siblings
    return f"no data at {text!r}; {nearest(path.name if siblings else text, known)}"


def open_source(
    source: str | Path | Tensor | Array | Dataset,
    *,
    split: str = "train",
    size: int | tuple[int, int] | None = None,  # None: the size they have, or the most sensible one
    channels: int | None = None,  # None: the fewest that lose nothing
    labels: bool = True,
    bad_files: float = 0.01,  # the share of unreadable files that is passed over
    fit: str = "crop",  # crop, pad or stretch: how an image of another aspect meets the target
    say: Say = quiet,
) -> Dataset:
    """Open one split of a SOURCE; a split in its text (`SOURCE#test`) counts for more than `split`.

    Every source has the splits train, test and all. A data set is answered as it is. InputError for whatever the user
    can mend.
    """
    request = Request(tuple(size) if isinstance(size, list) else size, channels, fit, bad_files)
    if isinstance(source, list | tuple):
        source = _rows_of(source)
    if isinstance(source, Dataset):
        return _as_it_is(source, split, request)
    if isinstance(source, Tensor | np.ndarray):
        stack = arrays.tensor(source, say)
        return stack.prepare(request, "the array", say).dataset("the array", split, labels=labels)
    if not isinstance(source, str | Path):
        raise InputError(
            f"data: {said(source)} is no source; give a path, a tensor or array [N, ...] (of a torch data set "
            "its tensor), or an object of gantlet.data.Dataset"
        )
    text, named = split_of(str(source))
    split = named or split
    if text.startswith("toy:") and (size or channels):
        raise InputError(f"{text}: these are points in the plane, size= and channels= are for images")
    if text.startswith("toy:"):
        return ToyDataset(str(source), split, parse_toy(text), labels=labels)
    pictures = find(text, say)
    return _ready(pictures, request, text, say).dataset(str(source), split, labels=labels)


def _rows_of(rows: list[Any] | tuple[Any, ...]) -> Array:
    """Numbers in lists as an array."""
    try:
        return np.asarray(rows, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"data: this {type(rows).__name__} is no array of numbers: {error}") from error


def _ready(pictures: Pictures, request: Request, where: str, say: Say) -> Prepared:
    if isinstance(pictures, Prepares):
        return pictures.prepare(request, where, say)
    return prepare(pictures, request, where, say)


def _as_it_is(dataset: Dataset, split: str, request: Request) -> Dataset:
    shape = dataset.spec.shape
    if request.sides and tuple(shape[1:]) != request.sides:
        raise InputError(f"{dataset.name}: a data set of shape {shape} is not resized here; open its source with size=")
    return dataset if split == "train" else dataset.with_split(split)
