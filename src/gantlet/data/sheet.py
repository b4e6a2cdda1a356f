"""A picture of a data set: a grid of images, or points in their columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gantlet.core.errors import InputError
from gantlet.core.noise import key_of
from gantlet.data.dataset import Array, Dataset, to_uint
from gantlet.data.order import permute
from gantlet.data.scatter import View, around, scatter

_LEAST_TILE = 32  # pixels: smaller images are enlarged by a whole number
_MOST_TILE = 256
POINTS = 5000  # a scatter of fewer says little


def contact_sheet(dataset: Dataset, path: Path, *, rows: int = 8, cols: int = 8) -> Path:
    """Draw some rows of a data set as a PNG; the same rows every time."""
    images = len(dataset.spec.shape) == 3
    some = _some(dataset, rows * cols if images else POINTS)
    return save_picture(some, path, cols=cols, called=f"of {len(dataset):,} rows")


def view_of(dataset: Dataset) -> View | None:
    """What samples are drawn against: the range of the data and some of its rows; None for images."""
    return around(_some(dataset, POINTS), behind=True) if len(dataset.spec.shape) == 1 else None


def save_picture(
    x: torch.Tensor, path: Path, *, cols: int = 8, view: View | None = None, called: str = "samples"
) -> Path:
    """Images [N, C, H, W] in -1..1 as a grid, or points [N, d] as a scatter of each pair of columns, in one PNG.

    Alpha is shown on a checkerboard; points are seen against `view` and are `called` so. InputError for samples that
    cannot be drawn.
    """
    if x.dim() == 4 and x.shape[1] <= 4:
        sheet = _grid(x, cols)
    elif x.dim() == 2:
        sheet = scatter(x, view, called=called)
    else:
        raise InputError(
            f"samples of shape {list(x.shape[1:])} cannot be drawn, only images of 1 to 4 channels and points can; "
            "write their numbers instead, to a .npy"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(path, format="PNG")
    return path


def _some(dataset: Dataset, most: int) -> torch.Tensor:
    n = len(dataset)
    index = permute(torch.arange(min(most, n)), n, key=key_of("sheet"))
    return dataset.rows(index).x


def _grid(x: torch.Tensor, cols: int) -> Array:
    images = to_uint(x).permute(0, 2, 3, 1).numpy()
    tiles = [_tile(image) for image in images]
    height, width = tiles[0].shape[:2]
    cols = min(cols, len(tiles))
    rows = -(-len(tiles) // cols)
    sheet = np.full((rows * (height + 2) - 2, cols * (width + 2) - 2, 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = (i // cols) * (height + 2), (i % cols) * (width + 2)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def _tile(image: Array) -> Array:
    """uint8 [H, W, 1..4] -> uint8 [h, w, 3] of a size that can be looked at."""
    channels = image.shape[2]
    if channels in (2, 4):
        image = _on_checkerboard(image)
    grey = channels in (1, 2)
    image = np.repeat(image, 3, axis=2) if grey else image
    side = min(image.shape[:2])
    times = -(-_LEAST_TILE // side)
    step = max(1, side // _MOST_TILE)
    return image.repeat(times, axis=0).repeat(times, axis=1)[::step, ::step]


def _on_checkerboard(image: Array) -> Array:
    colour, alpha = image[..., :-1].astype(np.float32), image[..., -1:].astype(np.float32) / 255
    y, x = np.indices(image.shape[:2])
    board = np.where((y // 4 + x // 4) % 2, 204, 238)[..., None]
    mixed: Array = (colour * alpha + board * (1 - alpha)).round().astype(np.uint8)
    return mixed
