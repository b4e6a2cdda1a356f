"""Trajectories in the plane of (theta, psi), a panel each, as one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Colour = tuple[int, int, int]
SIDE, TITLE, GAP, FINE = 270, 44, 16, 3  # pixels; drawn FINE times as large and shrunk
REACH = 2.2  # of either axis
PAPER, GRID, INK, FAINT = (255, 255, 255), (226, 228, 232), (32, 34, 40), (110, 114, 122)
COMES, STAYS = ((178, 205, 235), (18, 64, 130)), ((246, 206, 170), (176, 72, 16))  # early, late


class Panel(NamedTuple):
    """One way to play."""

    title: str
    below: str
    converges: bool
    path: Tensor  # [steps + 1, 2]


def draw(panels: Sequence[Panel], place: Path, *, columns: int = 4) -> None:
    """Write the picture; a path goes from light to dark, from the ring to the dot: blue where it converges."""
    rows = -(-len(panels) // columns)
    size = (columns * (SIDE + GAP) + GAP, rows * (SIDE + TITLE + GAP) + GAP)
    sheet = Image.new("RGB", (size[0] * FINE, size[1] * FINE), PAPER)
    pen = ImageDraw.Draw(sheet)
    for i, panel in enumerate(panels):
        left, top = GAP + i % columns * (SIDE + GAP), GAP + i // columns * (SIDE + TITLE + GAP)
        _panel(pen, panel, left * FINE, top * FINE)
    place.parent.mkdir(parents=True, exist_ok=True)
    sheet.resize(size, Image.Resampling.LANCZOS).save(place, optimize=True)


def _panel(pen: ImageDraw.ImageDraw, panel: Panel, left: int, top: int) -> None:
    title, small = (ImageFont.load_default(size * FINE) for size in (16, 13))
    pen.text((left, top), panel.title, fill=INK, font=title)
    pen.text((left, top + 21 * FINE), panel.below, fill=FAINT, font=small)
    top += TITLE * FINE
    side = SIDE * FINE
    pen.rectangle((left, top, left + side, top + side), outline=GRID, width=FINE)
    middle = side / 2
    pen.line((left, top + middle, left + side, top + middle), fill=GRID, width=FINE)
    pen.line((left + middle, top, left + middle, top + side), fill=GRID, width=FINE)
    pen.text((left + side - 8 * FINE, top + middle - 2 * FINE), "theta", fill=FAINT, font=small, anchor="rb")
    pen.text((left + middle + 5 * FINE, top + 4 * FINE), "psi", fill=FAINT, font=small)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x, y = (min(max(v, -REACH), REACH) / REACH for v in point)
        return left + middle * (1 + x), top + middle * (1 - y)

    early, late = COMES if panel.converges else STAYS
    points = [(x, y) for x, y in panel.path.tolist()]
    inside = [max(abs(x), abs(y)) <= REACH for x, y in points]
    for i in range(len(points) - 1):
        if inside[i] or inside[i + 1]:
            pen.line(
                (*place(points[i]), *place(points[i + 1])), fill=_shade(early, late, i / len(points)), width=2 * FINE
            )
    _ring(pen, place(points[0]))
    if inside[-1]:
        x, y = place(points[-1])
        pen.ellipse((x - 5 * FINE, y - 5 * FINE, x + 5 * FINE, y + 5 * FINE), fill=late)


def _ring(pen: ImageDraw.ImageDraw, at: tuple[float, float]) -> None:
    x, y = at
    pen.ellipse((x - 5 * FINE, y - 5 * FINE, x + 5 * FINE, y + 5 * FINE), fill=PAPER, outline=INK, width=2 * FINE)


def _shade(early: Colour, late: Colour, share: float) -> Colour:
    a, b, c = (round(e + (l - e) * share) for e, l in zip(early, late))
    return a, b, c
