"""Tables with images in them: parquet files, and data sets of the Hugging Face hub."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gantlet.core.errors import InputError
from gantlet.data import decode
from gantlet.data.containers import digest, file_mark
from gantlet.data.dataset import Array
from gantlet.data.decode import Look
from gantlet.data.listing import Listing, Say, settle, split_word
from gantlet.data.pictures import Pictures

_IMAGE_COLUMNS = ("image", "img", "images", "jpg", "png", "picture", "photo", "bytes")
_LABEL_COLUMNS = ("label", "labels", "class", "y", "fine_label", "target")


class Cells(Pictures):
    """Pictures as cells of a table: `cell(row)` answers the encoded bytes."""

    def __init__(
        self, kind: str, fingerprint: str, listing: Callable[[], Listing], cell: Callable[[int], bytes]
    ) -> None:
        self.kind, self.fingerprint = kind, fingerprint
        self._lists, self._cell = listing, cell

    @cached_property
    def _listing(self) -> Listing:
        return self._lists()

    def listing(self) -> Listing:
        return self._listing

    def look(self, row: int) -> Look:
        return decode.look(self._cell(row))

    def picture(self, row: int) -> Array:
        return decode.picture(self._cell(row))


def needs(package: str, what: str, extra: str) -> InputError:
    """What to say when an optional package is not there."""
    return InputError(f'{what} needs the package {package}; install it: pip install "gantlet[{extra}]"')


class _Groups:
    """Row groups of several parquet files as one table; the last group read is kept."""

    def __init__(self, paths: list[Path], column: str) -> None:
        import pyarrow.parquet as pq

        self._column, self._lock = column, threading.Lock()
        self._files = [pq.ParquetFile(p) for p in paths]
        self._places = [(f, g) for f in range(len(paths)) for g in range(self._files[f].num_row_groups)]
        sizes = [self._files[f].metadata.row_group(g).num_rows for f, g in self._places]
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self._kept: tuple[int, Any] = (-1, None)

    def cell(self, row: int) -> bytes:
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        with self._lock:
            if self._kept[0] != group:
                file, place = self._places[group]
                self._kept = group, self._files[file].read_row_group(place, columns=[self._column]).column(0)
            value = self._kept[1][row - int(self._starts[group])].as_py()
        return _bytes(value)


def _bytes(value: Any) -> bytes:
    data = value.get("bytes") if isinstance(value, Mapping) else value
    if not isinstance(data, bytes):
        raise ValueError("the cell holds no image bytes")
    return data


def parquet(path: Path, say: Say) -> Pictures:
    """Parquet files with a column of image bytes, or of structs {bytes, path}; splits by file name."""
    try:
        import pyarrow.parquet as pq
        from pyarrow import ArrowException
    except ImportError as error:
        raise needs("pyarrow", f"{path}: reading parquet", "parquet") from error
    paths = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    try:
        schema = pq.ParquetFile(paths[0]).schema_arrow
    except (ArrowException, OSError) as error:
        raise InputError(f"{paths[0]}: this parquet file cannot be read ({error}); fetch it again") from error
    column = _image_column(path, schema)

    def listing() -> Listing:
        counts = [pq.ParquetFile(p).metadata.num_rows for p in paths]
        words = [split_word(p.stem) or split_word(p.parent.name) for p in paths]
        splits = [s for split, count in zip(settle(words), counts) for s in [split] * count]
        names = [f"{p.name} row {row}" for p, count in zip(paths, counts) for row in range(count)]
        if not names:
            raise InputError(f"{path}: the table has no rows")
        labels, classes = _parquet_labels(paths, schema)
        return Listing(names, splits, labels, classes)

    mark = digest("parquet", [(p.name, file_mark(p)) for p in paths], column)
    groups: list[_Groups] = []
    lock = threading.Lock()

    def cell(row: int) -> bytes:
        with lock:
            if not groups:
                groups.append(_Groups(paths, column))
        return groups[0].cell(row)

    return Cells("parquet", mark, listing, cell)


def _image_column(path: Path, schema: Any) -> str:
    import pyarrow as pa

    def holds_bytes(kind: Any) -> bool:
        binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
        return binary or (
            pa.types.is_struct(kind) and any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
        )

    found = [f.name for f in schema if holds_bytes(f.type)]
    if not found:
        raise InputError(f"{path}: no column holds image bytes; it has {', '.join(schema.names)}")
    return next((name for name in _IMAGE_COLUMNS if name in found), found[0])


def _parquet_labels(paths: list[Path], schema: Any) -> tuple[Array | None, tuple[str, ...]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    column = next((name for name in _LABEL_COLUMNS if name in schema.names), None)
    if column is None:
        return None, ()
    kind = schema.field(column).type
    values = [v for p in paths for v in pq.read_table(p, columns=[column]).column(0).to_pylist()]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        names = sorted({v for v in values if v is not None})
        number = {name: i for i, name in enumerate(names)}
        return np.array([number.get(v, -1) for v in values], np.int64), tuple(names)
    if not pa.types.is_integer(kind):
        return None, ()
    labels = np.array([-1 if v is None else v for v in values], np.int64)
    return labels, _names_in(schema, column) or tuple(str(i) for i in range(int(labels.max()) + 1))


def _names_in(schema: Any, column: str) -> tuple[str, ...]:
    """Class names the `datasets` package leaves in the schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(features[column]["names"])
    except (KeyError, ValueError, TypeError):
        return ()


def hub(name: str, say: Say) -> Pictures:
    """`owner/name` or `owner/name/config` of the Hugging Face hub, through the `datasets` package."""
    try:
        import datasets
    except ImportError as error:
        raise needs("datasets", f"hf:{name}", "data") from error
    parts = name.split("/")
    repo, config = ("/".join(parts[:2]), "/".join(parts[2:]) or None) if len(parts) > 1 else (name, None)
    try:
        loaded = datasets.load_dataset(repo, config)
    except (OSError, ValueError, RuntimeError) as error:  # not there, no network, no such configuration
        raise InputError(f"hf:{name} cannot be loaded: {' '.join(str(error).split())[:200]}") from error
    found = {split_word(str(split)) or str(split): part for split, part in loaded.items()}
    column = _hub_column(name, next(iter(found.values())).features, datasets.Image)
    found = {split: part.cast_column(column, datasets.Image(decode=False)) for split, part in found.items()}
    known = {split: part for split, part in found.items() if split in ("train", "test", "val")} or found
    starts = np.concatenate([[0], np.cumsum([len(part) for part in known.values()])])

    def listing() -> Listing:
        words = [split if split in ("train", "test", "val") else "" for split in known]
        splits = [s for split, part in zip(settle(words), known.values()) for s in [split] * len(part)]
        names = [f"{split} row {row}" for split, part in known.items() for row in range(len(part))]
        labels, classes = _hub_labels(list(known.values()))
        return Listing(names, splits, labels, classes)

    def cell(row: int) -> bytes:
        part = int(np.searchsorted(starts, row, side="right")) - 1
        return _hub_bytes(list(known.values())[part][row - int(starts[part])][column])

    mark = digest("hf", name, [(s, getattr(p, "_fingerprint", len(p))) for s, p in known.items()])
    return Cells("hf", mark, listing, cell)


def _hub_column(name: str, features: Mapping[str, Any], image: type) -> str:
    found = [key for key, feature in features.items() if isinstance(feature, image)]
    if not found:
        raise InputError(f"hf:{name}: no column holds images; it has {', '.join(features)}")
    return next((key for key in _IMAGE_COLUMNS if key in found), found[0])


def _hub_bytes(value: Mapping[str, Any]) -> bytes:
    if value.get("bytes") is not None:
        return _bytes(value)
    return io.FileIO(value["path"]).readall()


def _hub_labels(parts: list[Any]) -> tuple[Array | None, tuple[str, ...]]:
    features = parts[0].features
    column = next((c for c in _LABEL_COLUMNS if c in features and hasattr(features[c], "names")), None)
    if column is None:
        return None, ()
    labels = np.concatenate([np.asarray(part[column], np.int64) for part in parts])
    return labels, tuple(features[column].names)
