"""Images moved and cut, each row by its own numbers; differentiable as often as one likes."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.trick import Given


def refuse_points(spec: Spec, trick: str) -> None:
    """InputError for data that has no height and width."""
    if len(spec.shape) != 3:
        raise InputError(
            f"trick {trick!r} is for images [C, H, W], the data has shape {list(spec.shape)}; "
            "use instance-noise for points, or leave it out"
        )


def alike(x: Tensor, given: Given, change: Callable[[Tensor], Tensor]) -> tuple[Tensor, Given]:
    """The same change of x and of everything given that is an image of its size."""
    return change(x), tuple(change(g) if g.dim() == 4 and g.shape[2:] == x.shape[2:] else g for g in given)


def wide(rows: Tensor, x: Tensor) -> Tensor:
    """[N] -> [N, 1, 1, 1] in x's dtype."""
    return rows.to(x.dtype).view(-1, 1, 1, 1)


def where(rows: Tensor, changed: Tensor, x: Tensor) -> Tensor:
    """The changed image in the rows that say so (bool [N]), x itself to the bit in the others."""
    return torch.where(rows.view(-1, 1, 1, 1), changed, x)


def shift(x: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """[N, C, H, W] moved by whole pixels (int64 [N]), zeros coming in."""
    n, _, h, w = x.shape
    rows = torch.arange(h, device=x.device) - down.view(-1, 1)
    cols = torch.arange(w, device=x.device) - right.view(-1, 1)
    there = ((rows >= 0) & (rows < h)).view(n, 1, h, 1) & ((cols >= 0) & (cols < w)).view(n, 1, 1, w)
    x = x.gather(2, (rows % h).view(n, 1, h, 1).expand_as(x))  # each index once: no order of adding in the adjoint
    x = x.gather(3, (cols % w).view(n, 1, 1, w).expand_as(x))
    return torch.where(there, x, 0)


def without(x: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """Zeros in a box of each row that begins at (top, left) (int64 [N]) and may reach over the border."""
    rows = torch.arange(x.shape[2], device=x.device) - top.view(-1, 1)
    cols = torch.arange(x.shape[3], device=x.device) - left.view(-1, 1)
    inside_rows, inside_cols = (rows >= 0) & (rows < height), (cols >= 0) & (cols < width)
    inside = inside_rows.unsqueeze(2) & inside_cols.unsqueeze(1)
    return torch.where(inside.unsqueeze(1), 0, x)


def warp(x: Tensor, back: Tensor) -> Tensor:
    """Images seen through affine maps [N, 3, 3] from a place in the result to one in x, in pixels from the middle.

    Bilinear, reflected at the borders. The taps are an embedding: unlike grid_sample it can be differentiated twice,
    and it adds up in a fixed order.
    """
    n, c, h, w = x.shape
    exact = torch.promote_types(x.dtype, torch.float32)  # places must not be rounded: no products of matrices either
    down = torch.arange(h, device=x.device, dtype=exact) - (h - 1) / 2
    right = torch.arange(w, device=x.device, dtype=exact) - (w - 1) / 2
    ys, xs = torch.meshgrid(down, right, indexing="ij")
    to = back.to(exact).unsqueeze(3)
    cols = to[:, 0, 0] * xs.flatten() + to[:, 0, 1] * ys.flatten() + to[:, 0, 2] + (w - 1) / 2
    rows = to[:, 1, 0] * xs.flatten() + to[:, 1, 1] * ys.flatten() + to[:, 1, 2] + (h - 1) / 2
    col, row = cols.floor(), rows.floor()
    over, under = (cols - col).unsqueeze(2), (rows - row).unsqueeze(2)
    table = x.permute(0, 2, 3, 1).reshape(n * h * w, c)
    first = (torch.arange(n, device=x.device) * (h * w)).view(-1, 1)

    def tap(dy: int, dx: int) -> Tensor:
        index = first + _reflected(row + dy, h) * w + _reflected(col + dx, w)
        return F.embedding(index, table)  # [N, H W, C]

    top = tap(0, 0) * (1 - over) + tap(0, 1) * over
    bottom = tap(1, 0) * (1 - over) + tap(1, 1) * over
    seen = top * (1 - under) + bottom * under
    return seen.to(x.dtype).view(n, h, w, c).permute(0, 3, 1, 2).contiguous()


def _reflected(place: Tensor, size: int) -> Tensor:
    """..., 1, 0 | 0, 1, ..., size - 1 | size - 1, ...: whole places folded into 0..size-1, int64."""
    folded = place.to(torch.int64) % (2 * size)
    return torch.where(folded < size, folded, 2 * size - 1 - folded)
