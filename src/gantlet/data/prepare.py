"""A source made ready to read rows from: found in the cache, or decoded once into it, or decoded as it is asked for."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gantlet.core.errors import InputError
from gantlet.data.cache import VERSION, DiskFull, Entry, Mapped, Rowwise, written_aside
from gantlet.data.containers import digest
from gantlet.data.dataset import Array, Dataset, Rows, Store, Table
from gantlet.data.fit import Plan
from gantlet.data.holdout import distinct_in, split_rows
from gantlet.data.listing import ORDER, Say
from gantlet.data.pictures import Pictures, Request, check_bad, decode_all, plan_for, scan

_IN_FLIGHT = 64 << 20  # bytes of finished rows that wait to be written
_NONE: Array = np.empty(0, np.int64)


@dataclass(frozen=True)
class Prepared:
    """Everything a split is cut from."""

    store: Store
    splits: dict[str, Rows]
    fingerprint: str
    labels: Array | None = None
    class_names: tuple[str, ...] = ()
    distinct: int = 2  # different rows to train on, counted no further than 2 where nothing else needs the count

    def dataset(self, name: str, split: str, *, labels: bool) -> Dataset:
        """One split; InputError for one that is not there, or that no GAN can be trained on."""
        if split == "test" and split not in self.splits:
            raise InputError(f"{name}: too few different images to hold any out; add some, or a test/ folder")
        if split == "train" and self.distinct < 2:
            count = len(self.splits["train"])
            what = "there is one image" if count == 1 else f"all {count} images are the same"
            raise InputError(f"{name}: {what}; a GAN needs at least 2 different ones: add more to the source")
        return Table(
            name,
            split,
            store=self.store,
            splits=self.splits,
            fingerprint=self.fingerprint,
            labels=self.labels if labels else None,
            class_names=self.class_names if labels else (),
        )


class Decoding:
    """Rows decoded each time they are asked for: what is left when the cache has no room."""

    def __init__(self, pictures: Pictures, kept: list[int], plan: Plan) -> None:
        self._pictures, self._kept, self._plan = pictures, np.array(kept, np.int64), plan
        self.shape, self.dtype = (len(kept), *plan.shape), plan.dtype
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="gantlet-decode")

    def _row(self, row: int) -> Array:
        return self._plan(self._pictures.picture(row))

    def take(self, rows: Array) -> Array:
        if not len(rows):
            return np.empty((0, *self.shape[1:]), self.dtype)
        return np.stack(list(self._pool.map(self._row, self._kept[rows].tolist())))


def prepare(pictures: Pictures, request: Request, where: str, say: Say) -> Prepared:
    """Pictures -> rows of one shape, through the cache."""
    key = digest(VERSION, pictures.fingerprint, request.key)
    found = _load(key, request.bad_files, say)
    return _Build(pictures, request, where, say, key).run() if found is None else found


@dataclass
class _Build:
    """One preparation: headers, a plan, then every picture decoded once."""

    pictures: Pictures
    request: Request
    where: str
    say: Say
    key: str
    notes: list[str] = field(default_factory=list)  # what is worth saying again at every later start

    def run(self) -> Prepared:
        listing = self.pictures.listing()
        rows = sorted(range(len(listing.names)), key=lambda row: ORDER[listing.splits[row]])
        seen = scan(self.pictures, rows)
        check_bad(self.where, listing.names, seen.bad, 1.0)  # damage behind the headers is not known yet
        self.bad = seen.bad
        plan = plan_for(self.where, seen.looks, self.request, self.note)
        rows = [row for row in rows if row not in seen.bad]
        self.say(f"{self.where}: preparing {len(rows)} images as {' x '.join(map(str, plan.shape))} {plan.dtype}, once")
        try:
            return self._into_cache(rows, plan)
        except DiskFull as full:
            self.say(f"{self.where}: not cached: {full}; images are decoded whenever they are needed, which is slower")
        kept, hashes = decode_all(self.pictures, rows, plan, lambda row: None, self.bad, block=_block(plan))
        return self._prepared(Decoding(self.pictures, kept, plan), kept, hashes)

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.say(text)

    def _into_cache(self, rows: list[int], plan: Plan) -> Prepared:
        entry = Entry(self.key)
        with written_aside(entry.path(".npy"), wanted=len(rows) * plan.nbytes) as file:
            sink = Rowwise(file, plan.shape, plan.dtype, len(rows))
            kept, hashes = decode_all(self.pictures, rows, plan, sink.write, self.bad, block=_block(plan))
            check_bad(self.where, self.pictures.listing().names, self.bad, self.request.bad_files)
            sink.close()
        prepared = self._prepared(Mapped.npy(entry.path(".npy")), kept, hashes)
        _save(entry, prepared, self.notes, len(self.bad) / len(self.pictures.listing().names))
        return prepared

    def _prepared(self, store: Store, kept: list[int], hashes: Array) -> Prepared:
        """Splits, labels and counts, now that it is known which rows can be read."""
        listing = self.pictures.listing()
        check_bad(self.where, listing.names, self.bad, self.request.bad_files)
        if self.bad:
            shown = ", ".join(listing.names[row] for row in list(self.bad)[:5]) + (", ..." if len(self.bad) > 5 else "")
            self.note(f"{self.where}: {len(self.bad)} files cannot be read and are left out ({shown})")
        counts = Counter(listing.splits[row] for row in kept)
        if "train" in counts and counts[""]:
            self.note(f"{self.where}: {counts['']} images are outside the split folders and are in no split but all")
        splits = split_rows(counts, hashes)
        distinct = distinct_in(splits["train"], hashes)
        labels = None if listing.labels is None else listing.labels[kept]
        return Prepared(store, splits, self.key, labels, tuple(listing.class_names), distinct)


def _block(plan: Plan) -> int:
    return max(1, min(512, _IN_FLIGHT // plan.nbytes))


def _save(entry: Entry, prepared: Prepared, notes: list[str], bad: float) -> None:
    entry.save_side("held", next((rows.held for rows in prepared.splits.values() if rows.only), _NONE))
    if prepared.labels is not None:
        entry.save_side("labels", prepared.labels.astype(np.int32))
    splits = {name: [rows.start, rows.stop, len(rows.held) > 0, rows.only] for name, rows in prepared.splits.items()}
    meta: dict[str, Any] = {"splits": splits, "labelled": prepared.labels is not None, "notes": notes}
    entry.close({**meta, "class_names": prepared.class_names, "distinct": prepared.distinct, "bad": bad})


def _load(key: str, allowed: float, say: Say) -> Prepared | None:
    """What the cache holds under a key; None when that is nothing, damaged, or leaves out more files than allowed."""
    entry = Entry(key)
    meta = entry.meta()
    if meta is None or meta["bad"] > allowed:
        return None
    try:
        store, held = Mapped.npy(entry.path(".npy")), entry.side("held")
        labels = entry.side("labels").astype(np.int64) if meta["labelled"] else None
    except (OSError, ValueError, EOFError):
        return None
    for note in meta["notes"]:
        say(note)
    splits = {n: Rows(a, b, held if uses else _NONE, only) for n, (a, b, uses, only) in meta["splits"].items()}
    return Prepared(store, splits, key, labels, tuple(meta["class_names"]), meta["distinct"])
