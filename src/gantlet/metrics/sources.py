"""Where samples come from: a tensor, a data set, or batches one after another; read in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Spec
from gantlet.core.noise import key_of, uniform
from gantlet.data.dataset import to_unit
from gantlet.data.order import permute

T = TypeVar("T")
_FAR = 100.0  # no image in -1..1 reaches this, every image in 0..255 does


@runtime_checkable
class Rows(Protocol):
    """A data set: rows by number, images as float32 in -1..1."""

    @property
    def spec(self) -> Spec: ...

    def __len__(self) -> int: ...

    def rows(self, index: Tensor, device: torch.device | None = None) -> Batch: ...


Source = Tensor | Rows | Iterable[Tensor | Batch]


@dataclass(frozen=True)
class Picked:
    """Some rows of a data set, by number."""

    whole: Rows
    index: Tensor  # int64 [n]
    classes: int | None = None  # of the labels; None: as the set has it

    @property
    def spec(self) -> Spec:
        spec = self.whole.spec
        return spec._replace(classes=spec.classes if self.classes is None else self.classes, count=len(self.index))

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, index: Tensor, device: torch.device | None = None) -> Batch:
        """Rows of the choice."""
        return self.whole.rows(self.index[index.cpu()], device)


class Drawn:
    """Samples made whenever they are read: `draw(first, n)` answers rows first .. first + n - 1, labelled as a Batch."""

    def __init__(self, count: int, draw: Callable[[int, int], Tensor | Batch], *, batch: int = 256) -> None:
        self.count, self.draw, self.batch = count, draw, batch

    def __iter__(self) -> Iterator[Tensor | Batch]:
        for first in range(0, self.count, self.batch):
            yield self.draw(first, min(self.batch, self.count - first))


class Kept:
    """A source together with what was summed up of it (features, moments, histograms): each is computed once."""

    def __init__(self, source: Source, *, name: str = "") -> None:
        self.source: Source = source.source if isinstance(source, Kept) else source
        self.name = name  # of a set that stays as it is: its features are kept on disk too
        self._sums: dict[Any, Any] = {}

    def __iter__(self) -> Iterator[Batch]:
        return batches_of(self.source)

    def sum_up(self, key: Any, make: Callable[[Source], T]) -> T:
        """`make(source)`, remembered under `key`."""
        if key not in self._sums:
            self._sums[key] = make(self)
        found: T = self._sums[key]
        return found

    def groups(self, count: int) -> list[Chosen]:
        """The rows dealt out at random: each run of `count` rows gives one to every group, whatever their order means."""

        def deal(_: Source) -> list[Chosen]:
            group = dealt(0, rows_in(self), count)
            return [Chosen(self, (group == j).nonzero().flatten()) for j in range(count)]

        found: list[Chosen] = self.sum_up(("groups", count), deal)
        return found

    def some(self, count: int) -> Chosen:
        """`count` rows at random: a folder is often in the order of its classes."""

        def choose(_: Source) -> Chosen:
            return Chosen(self, permute(torch.arange(count), rows_in(self), key=key_of("some")).sort().values)

        found: Chosen = self.sum_up(("some", count), choose)
        return found


class Chosen(Kept):
    """Some rows of a kept source, in its order: a cut of what was summed up of it, where it can be cut."""

    def __init__(self, whole: Kept, index: Tensor) -> None:
        super().__init__(_Some(whole.source, index))
        self.whole, self.index = whole, index  # int64 [n], rising


class _Some:
    """Rows by number of a source that can be read again."""

    def __init__(self, source: Source, index: Tensor) -> None:
        self.source, self.index = source, index

    def __iter__(self) -> Iterator[Batch]:
        if isinstance(self.source, Rows):
            yield from (self.source.rows(some) for some in torch.split(self.index, 256))
            return
        seen = 0
        for rows in batches_of(self.source):
            first, last = (int(v) for v in torch.searchsorted(self.index, torch.tensor([seen, seen + len(rows.x)])))
            own = self.index[first:last] - seen
            seen += len(rows.x)
            if len(own):
                yield Batch(rows.x[own], None if rows.y is None else rows.y[own])


def dealt(first: int, n: int, groups: int) -> Tensor:
    """The group of rows first .. first + n - 1, int64 [n]: every run of `groups` rows has each group once, at random."""
    skip = first % groups
    turns = -(-(skip + n) // groups)
    order = uniform((groups,), turns, key=("deal", groups), first=first // groups).argsort(dim=1, stable=True)
    return order.flatten()[skip : skip + n]


def rows_in(source: Kept) -> int:
    """How many samples there are; a stream is read once to count them."""
    known = count_of(source)
    return known if known is not None else source.sum_up("rows", lambda whole: sum(len(b.x) for b in batches_of(whole)))


class Joined:
    """Kept sources one after another; what is summed up of it is merged from what they kept."""

    def __init__(self, parts: Sequence[Kept]) -> None:
        self.parts = list(parts)

    def __iter__(self) -> Iterator[Batch]:
        for part in self.parts:
            yield from part


def without(source: Kept, group: int, of: int) -> Joined:
    """A kept source less one of its groups: what a delete-group jackknife looks at."""
    return Joined([g for j, g in enumerate(source.groups(of)) if j != group])


def sum_up(source: Source, key: Any, make: Callable[[Source], T], merge: Callable[[list[T]], T] | None = None) -> T:
    """`make(source)`; a kept source remembers it under `key`, a joined one merges what its parts remember."""
    if isinstance(source, Kept):
        return source.sum_up(key, make)
    if isinstance(source, Joined) and merge is not None:
        return merge([part.sum_up(key, make) for part in source.parts])
    return make(source)


def batches_of(source: Source, *, batch: int = 256, device: torch.device | None = None) -> Iterator[Batch]:
    """The samples of a source in order, at most `batch` rows at a time, float32 [n, ...] on `device`.

    uint8 and uint16 become -1..1. InputError for no samples, rows that differ in shape, other integers, NaN or infinite
    values, and images that are clearly not in -1..1.
    """
    shape = None
    for piece in _pieces(source, batch, device):
        x = _checked(piece.x if device is None else piece.x.to(device))
        if shape not in (None, x.shape[1:]):
            raise InputError(f"samples of shape {list(x.shape[1:])} follow samples of shape {list(shape or ())}")
        shape = x.shape[1:]
        yield piece._replace(x=x)
    if shape is None:
        raise InputError("there are no samples; at least one is needed")


def _pieces(source: Source, batch: int, device: torch.device | None) -> Iterator[Batch]:
    if isinstance(source, Kept):
        source = source.source
    if isinstance(source, Rows):
        for first in range(0, len(source), batch):
            yield source.rows(torch.arange(first, min(first + batch, len(source))), device)
        return
    for item in [source] if isinstance(source, Tensor | Batch) else source:
        whole = item if isinstance(item, Batch) else Batch(item)
        for first in range(0, len(whole.x), batch):
            yield whole.rows(first, min(first + batch, len(whole.x)))


def _checked(x: Tensor) -> Tensor:
    if x.ndim < 2:
        raise InputError(f"samples are [N, C, H, W] or [N, d], this is {list(x.shape)}; add the missing dimension")
    if not x.is_floating_point() and x.dtype not in (torch.uint8, torch.uint16):
        raise InputError(f"samples are floats in -1..1, uint8 or uint16, not {str(x.dtype).removeprefix('torch.')}")
    x = to_unit(x)
    most = float(x.abs().amax())
    if not most < float("inf"):
        raise InputError("the samples hold NaN or infinite values; a set that does cannot be measured")
    if x.ndim == 4 and most > _FAR:
        raise InputError(f"images are floats in -1..1 and these reach {most:.4g}; divide by 127.5 and subtract 1")
    return x


def spec_of(source: Source) -> Spec:
    """What one sample looks like. InputError for a stream, which tells only while it is read."""
    if isinstance(source, Kept):
        return spec_of(source.source)
    if isinstance(source, Joined):
        return spec_of(source.parts[0])
    if isinstance(source, Rows):
        return source.spec
    if isinstance(source, Batch):
        source = source.x
    if isinstance(source, Tensor):
        return Spec(tuple(source.shape[1:]), count=len(source))
    if once(source):
        raise InputError("the shape of a stream is not known before it is read; pass features that are built")
    return spec_of(next(iter(batches_of(source))).x)


def count_of(source: Source) -> int | None:
    """How many samples a source has; None for a stream, which tells only while it is read."""
    if isinstance(source, Kept) and not isinstance(source, Chosen):
        return count_of(source.source)
    if isinstance(source, Batch):
        return len(source.x)
    if isinstance(source, Drawn):
        return source.count
    if isinstance(source, Chosen):
        return len(source.index)
    return len(source) if isinstance(source, Tensor | Rows) else None


def once(source: Source) -> bool:
    """Can this source be read only once (a generator)?"""
    return isinstance(source.source if isinstance(source, Kept) else source, Iterator)
