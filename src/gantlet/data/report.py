"""What a source holds: counts, sizes, modes, classes, duplicates, what cannot be read, and what would be made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from gantlet.core.errors import InputError
from gantlet.data.columns import Columns, columns_of
from gantlet.data.dataset import Array
from gantlet.data.decode import Look
from gantlet.data.holdout import split_rows
from gantlet.data.listing import ORDER, Listing
from gantlet.data.pictures import Pictures, Request, decode_all, plan_for, scan
from gantlet.data.source import find, split_of
from gantlet.data.stack import Stack
from gantlet.data.toys import ToyDataset, parse_toy

_FEW = 1000  # images below which a critic learns them by heart without augmentation
_SHOWN = 10


@dataclass
class SourceReport:
    """Facts about a source; sizes are `H x W`, modes as the files have them."""

    source: str
    kind: str
    count: int  # rows that can be read
    splits: dict[str, int] = field(default_factory=dict)
    shape: tuple[int, ...] = ()  # what one row becomes
    bits: int = 8
    sizes: dict[str, int] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)
    unlabelled: int = 0
    duplicates: int = 0  # rows beyond the first of each content
    blank: int = 0  # rows of one colour
    animated: int = 0
    columns: Columns | None = None  # of points
    unreadable: dict[str, str] = field(default_factory=dict)  # name -> why
    notes: list[str] = field(default_factory=list)  # what opening it says
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON."""
        columns = None if self.columns is None else self.columns._asdict()
        return {**asdict(self), "shape": list(self.shape), "columns": columns}

    def lines(self) -> list[str]:
        """The report as text, a fact a line."""
        facts = {
            "source": f"{self.source} ({self.kind})",
            "rows": f"{self.count} ({', '.join(f'{n} {count}' for n, count in self.splits.items())})",
            "sizes": _several(self.sizes),
            "modes": _several(self.modes),
            "columns": f"{self.columns.said()} (mean +- deviation)" if self.columns else "",
            "classes": f"{len(self.classes)}: {_several(self.classes)}" if self.classes else "none",
            "duplicates": str(self.duplicates),
            "becomes": f"{' x '.join(map(str, self.shape))}, {self.bits} bits",
        }
        out = [f"{name + ':':12}{fact}" for name, fact in facts.items() if fact]
        out += [f"{'unreadable:':12}{name}: {why}" for name, why in self.unreadable.items()]
        out += [f"{'note:':12}{text}" for text in self.notes]
        return out + [f"{'warning:':12}{text}" for text in self.warnings]


def _several(counts: dict[str, int]) -> str:
    shown = ", ".join(f"{name} ({count})" for name, count in list(counts.items())[:_SHOWN])
    return shown + (f", and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else "")


def describe(source: str, *, size: int | tuple[int, int] | None = None, channels: int | None = None) -> SourceReport:
    """Read a whole source once and say what is in it; InputError when it cannot be opened at all."""
    text, _ = split_of(str(source))
    request = Request(size, channels)
    if text.startswith("toy:"):
        return _describe_toy(text)
    notes: list[str] = []
    pictures = find(text, notes.append)
    listing = pictures.listing()
    if isinstance(pictures, Stack) and not pictures.images:
        report = _describe_points(text, pictures, listing)
    else:
        report = _describe_pictures(text, pictures, listing, request, notes)
    report.notes = [note.removeprefix(f"{text}: ") for note in notes]
    report.warnings = _warnings(report)
    return report


def _describe_toy(text: str) -> SourceReport:
    train = ToyDataset(text, "train", parse_toy(text))
    test = train.with_split("test")
    labels = train.labels_array()
    classes = (
        {} if labels is None else dict(zip(train.class_names, labels.bincount(minlength=train.spec.classes).tolist()))
    )
    splits = {"train": len(train), "test": len(test)}
    columns = columns_of(lambda rows: train.read(torch.from_numpy(rows)).numpy(), len(train))
    return SourceReport(
        text, "toy", len(train), splits, train.spec.shape, 32, modes={"points": len(train)}, classes=classes,
        columns=columns, warnings=columns.warnings("give the toy another size by its options"),
    )  # fmt: skip


def _describe_points(text: str, stack: Stack, listing: Listing) -> SourceReport:
    hashes = stack.hashes()
    report = SourceReport(text, stack.kind, len(hashes), shape=stack.store.shape[1:], bits=32)
    report.modes = {"points": len(hashes)}
    report.columns = columns_of(stack.store.take, len(hashes))
    _count_rows(report, listing, list(range(len(hashes))), hashes)
    return report


def _describe_pictures(
    text: str, pictures: Pictures, listing: Listing, request: Request, notes: list[str]
) -> SourceReport:
    rows = sorted(range(len(listing.names)), key=lambda row: ORDER[listing.splits[row]])
    seen = scan(pictures, rows)
    flags: list[Array] = []
    readable = [row for row in rows if row not in seen.bad]
    kept, hashes = decode_all(pictures, readable, _flags, flags.append, seen.bad)
    if not kept:
        names = ", ".join(listing.names[row] for row in list(seen.bad)[:5])
        raise InputError(
            f"{text}: none of {len(listing.names)} files can be read ({names}); give images of a known format"
        )
    report = SourceReport(text, pictures.kind, len(kept))
    plan = plan_for(text, seen.looks, request, notes.append)
    report.shape, report.bits = plan.shape, plan.dtype.itemsize * 8
    report.sizes = _tally(seen.looks, lambda look: f"{look.height} x {look.width}")
    report.modes = _tally(seen.looks, lambda look: look.mode)
    report.animated = sum(n for look, n in seen.looks.items() if look.animated)
    report.unreadable = {listing.names[row]: why for row, why in sorted(seen.bad.items())}
    report.blank, opaque = (int(column) for column in np.sum(flags, axis=0))
    if plan.channels in (2, 4) and opaque == len(kept):
        notes.append(f"no image has a transparent pixel: channels={plan.channels - 1} loses nothing")
    _count_rows(report, listing, kept, hashes)
    return report


def _flags(picture: Array) -> Array:
    """[is it of one colour, is it opaque] of one picture."""
    alpha = picture[..., -1] if picture.shape[2] in (2, 4) else None
    full = np.iinfo(picture.dtype).max if picture.dtype.kind == "u" else 1
    return np.array([(picture == picture[0, 0]).all(), alpha is None or (alpha == full).all()])


def _tally(looks: Counter[Look], name: Callable[[Look], str]) -> dict[str, int]:
    out: Counter[str] = Counter()
    for look, count in looks.items():
        out[name(look)] += count
    return dict(out.most_common())


def _count_rows(report: SourceReport, listing: Listing, kept: list[int], hashes: Array) -> None:
    """Splits, classes and duplicates of the rows that can be read."""
    splits = split_rows(Counter(listing.splits[row] for row in kept), hashes)
    report.splits = {name: len(rows) for name, rows in splits.items() if name != "all"}
    report.duplicates = len(hashes) - len(np.unique(hashes))
    if listing.labels is None:
        return
    labels = listing.labels[kept]
    report.unlabelled = int((labels < 0).sum())
    counts = np.bincount(labels[labels >= 0], minlength=len(listing.class_names))
    report.classes = dict(zip(listing.class_names, counts.tolist()))


def _warnings(report: SourceReport) -> list[str]:
    """What is likely to go wrong in training on it."""
    empty = [name for name, count in report.classes.items() if count < 2]
    found = {
        f"all {report.count} rows are the same: nothing can be trained on them": report.duplicates == report.count - 1,
        f"{report.duplicates} exact duplicates": 0 < report.duplicates < report.count - 1,
        f"only {report.count} rows: augment, or the critic learns them by heart": report.count < _FEW,
        f"{report.blank} images are of one colour": report.blank > 0,
        f"{report.unlabelled} rows have no label": report.unlabelled > 0,
        f"{len(report.unreadable)} files cannot be read": bool(report.unreadable),
        f"classes with fewer than 2 rows: {', '.join(empty[:_SHOWN])}": bool(empty),
    }
    return [text for text, holds in found.items() if holds] + (report.columns.warnings() if report.columns else [])
