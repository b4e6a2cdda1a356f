"""Real rows that probes may show the networks: some that are trained on, some that never are."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.core.noise import key_of
from gantlet.data.dataset import Dataset
from gantlet.data.order import permute

LEAST = 64  # rows, however large they are
NUMBERS = 2**23  # of a side, 32 MiB: beyond it there are fewer rows, as they stay on the device all along


class Rows(NamedTuple):
    """Real rows for probes, on the device; in no order, so that the first few are as good as any."""

    train: Tensor  # [N, *shape]
    held: Tensor | None = None  # [N, *shape] of the held-out split; None: nothing is held out
    y: Tensor | None = None  # int64 [N] labels of the training rows
    held_y: Tensor | None = None


def rows_for(dataset: Dataset, device: torch.device, n: int = 256, *, channels_last: bool = False) -> Rows:
    """At most n rows of the split that is trained on and of its test split, evenly spread over each, the same every time.

    Float32 [N, *shape], images in -1..1; `channels_last`: laid out as the engine lays out its batches. Nothing is held out
    where the set has no test split, or where what is trained on holds it (`#test`, `#all`).
    """
    train, y = _spread(dataset, device, n, channels_last)
    test = _test_of(dataset)
    if test is None or len(test) == 0:
        return Rows(train, None, y)
    held, held_y = _spread(test, device, n, channels_last)
    return Rows(train, held, y, held_y)


def _test_of(dataset: Dataset) -> Dataset | None:
    if dataset.split != "train":
        return None
    try:
        return dataset.with_split("test")
    except InputError:  # it says that there is none
        return None


def _spread(dataset: Dataset, device: torch.device, n: int, channels_last: bool) -> tuple[Tensor, Tensor | None]:
    have = len(dataset)
    size = max(1, torch.Size(dataset.spec.shape).numel())
    count = min(n, have, max(LEAST, NUMBERS // size))
    order = permute(torch.arange(count), count, key=key_of("rows"))  # a folder is often in the order of its classes
    batch = dataset.rows(order * have // max(count, 1), device)
    x = batch.x
    if channels_last and x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    return x, batch.y
