"""Space in cells: k-means."""

from __future__ import annotations

import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.core.noise import uniform
from gantlet.metrics.nearest import nearest

_ROUNDS = 20  # by then few rows still move


def regions_of(rows: list[Tensor], cells: int, seed: int) -> list[Tensor]:
    """The cell of each row of several matrices [n, d], int64 [n]: k-means on the first (Lloyd 1982).

    It begins at `cells` of its rows, picked by the seed; a cell that loses all its rows stays where it was.
    """
    x = rows[0]
    if len(x) < cells:
        raise InputError(f"{cells} cells need as many samples or more, there are {len(x)}; take fewer cells")
    picked = uniform((), len(x), key=(seed, "cells")).argsort()[:cells].to(x.device)
    centres, before = x[picked].double(), None
    for _ in range(_ROUNDS):
        cell = _cell(x, centres)
        if before is not None and torch.equal(cell, before):
            break
        before, count = cell, torch.bincount(cell, minlength=cells).double().unsqueeze(1)
        total = torch.zeros_like(centres)
        for some, where in zip(torch.split(x, 4096), torch.split(cell, 4096), strict=True):
            total.index_add_(0, where, some.double())
        centres = torch.where(count > 0, total / count.clamp(min=1), centres)
    return [_cell(side, centres) for side in rows]


def _cell(x: Tensor, centres: Tensor) -> Tensor:
    return nearest(x, centres.to(x.dtype)).row[:, 0]
