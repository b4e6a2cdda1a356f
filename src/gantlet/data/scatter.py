"""Points as pictures: a scatter with axes, or one for each pair of columns, before the points they should look like."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from gantlet.data.dataset import Array

Colour = tuple[int, int, int]
COLUMNS = 4  # drawn at most: ten panels are as many as one looks at
FINE = 2  # drawn so many times as large and shrunk
SIDE, SMALL, GAP = 460, 184, 10  # pixels: of one panel, of one among several, between those
LEFT, TOP, RIGHT, BELOW = 52, 28, 26, 28  # around the panels; on the left more where labels are long
TEXT, TICK = 12, 4
BINS, WIDE = 48, 3  # of histograms; their line, in fine pixels
MARGIN = 0.12  # of the range, to either side
ROUND = 4.0  # ranges of two columns less apart than this have one scale: a ring is round
PAPER, EDGE, FAINT = (255, 255, 255), (190, 194, 200), (96, 100, 108)
REAL, MADE = (178, 181, 187), (40, 112, 214)


@dataclass(frozen=True)
class View:
    """What points are seen against: the ends of the axes, a column each, and real points [M, d] to draw behind them."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    reals: torch.Tensor | None = None


def around(x: torch.Tensor, *, behind: bool = False) -> View:
    """Axes that show points [N, d] with a margin, and with `behind` those as the real ones."""
    points = _finite(x)
    columns = points.shape[1]
    low, high = (points.min(0), points.max(0)) if len(points) else (-np.ones(columns), np.ones(columns))
    middle, reach = (low + high) / 2, (high - low) / 2 * (1 + 2 * MARGIN)
    still = reach <= 1e-9 * np.abs(middle)  # a column may be of one value
    reach = np.where(still, np.maximum(np.abs(middle), 1.0), reach)
    if columns == 2 and reach.max() < ROUND * reach.min():
        reach = np.full(2, reach.max())
    return View(tuple((middle - reach).tolist()), tuple((middle + reach).tolist()), x if behind else None)


def scatter(x: torch.Tensor, view: View | None = None, *, called: str = "samples") -> Array:
    """Points [N, d], d >= 1, as a picture uint8 [H, W, 3]: of two columns a scatter, of one a histogram, of more both, for
    the first four and each pair of them. A row that lies beyond the axes or is not finite is counted, not drawn.
    """
    view = around(x) if view is None else view
    made = _placed(x, view)
    real = None if view.reals is None else _placed(view.reals, view)
    sheet = _Sheet(view)
    for row, column in sheet.panels:
        sheet.panel(row, column, made, real)
    beyond = len(x) - int(((made >= 0) & (made <= 1)).all(1).sum())
    outside = f", {beyond:,} outside" * (beyond > 0)
    told = [(f"{len(x):,} {called}{outside}", MADE)] + ([] if real is None else [(f"{len(real):,} real points", REAL)])
    rest = f"columns 0 to {COLUMNS - 1} of {x.shape[1]}" * (x.shape[1] > COLUMNS)
    sheet.legend(told, rest)
    return sheet.finished()


def _finite(x: torch.Tensor) -> Array:
    points: Array = x[:, :COLUMNS].double().numpy()
    return points[np.isfinite(points).all(1)]


def _placed(x: torch.Tensor, view: View) -> Array:
    """Columns in 0..1 along their axes; -1, which is outside, where a row has a number that is not finite."""
    low, high = np.array(view.low), np.array(view.high)
    points: Array = (x[:, : len(low)].double().numpy() - low) / (high - low)
    points[~np.isfinite(points).all(1)] = -1
    return points


class _Sheet:
    """The picture while it is drawn, FINE times as large; panels are numbered by row and column from the top left."""

    def __init__(self, view: View) -> None:
        self.view, count = view, len(view.low)
        self.panels = [(i, j) for i in range(count) for j in range(i + 1)] if count != 2 else [(1, 0)]
        self.side, self.rows, self.ticks = (SMALL, count, 2) if count > 2 else (SIDE, 1, 4)
        self.font: Any = ImageFont.load_default(TEXT * FINE)
        beside = [
            self._wide(text) for low, high in zip(view.low, view.high) for _, text in _ticks(low, high, self.ticks)
        ]
        self.left = max(LEFT, math.ceil(max(beside)) + 3 * TICK)
        across = self.rows * (self.side + GAP) - GAP
        self.size = (self.left + across + RIGHT, TOP + across + BELOW)
        self.image = Image.new("RGB", (self.size[0] * FINE, self.size[1] * FINE), PAPER)
        self.pen = ImageDraw.Draw(self.image)
        self.end = 0.0  # of the last text below

    def _wide(self, text: str) -> float:
        """Pixels of the finished picture."""
        return float(self.font.getlength(text)) / FINE

    def panel(self, row: int, column: int, made: Array, real: Array | None) -> None:
        """Column `column` along x and column `row` along y, or the histogram of one where they are the same."""
        side = self.side * FINE
        line = row if self.rows > 1 else 0
        left, top = (start + place * (self.side + GAP) for start, place in ((self.left, column), (TOP, line)))
        left, top = left * FINE, top * FINE
        paper = np.full((side, side, 3), PAPER, np.float32)
        if row == column:
            _histograms(paper, made[:, row], None if real is None else real[:, row])
        else:
            for points, colour in ((real, REAL), (made, MADE)):
                if points is not None:
                    _dots(paper, points[:, [column, row]], colour)
        self.image.paste(Image.fromarray(paper.round().astype(np.uint8)), (left, top))
        self.pen.rectangle((left, top, left + side, top + side), outline=EDGE, width=FINE)
        if row == column and self.rows > 1:
            self.pen.text((left + 6 * FINE, top + 4 * FINE), f"column {row}", fill=FAINT, font=self.font)
        if line == self.rows - 1:
            self._ticks_below(column, left, top + side)
        if column == 0 and row != column:  # a histogram's height has no unit
            self._ticks_beside(row, left, top)

    def _ticks_below(self, column: int, left: int, bottom: int) -> None:
        for share, text in _ticks(self.view.low[column], self.view.high[column], self.ticks):
            x, half = left + share * self.side * FINE, self._wide(text) / 2 * FINE
            self.pen.line((x, bottom, x, bottom + TICK * FINE), fill=EDGE, width=FINE)
            if x - half < self.end:  # texts would touch
                continue
            self.end = x + half + TICK * FINE
            self.pen.text((x, bottom + (TICK + 2) * FINE), text, fill=FAINT, font=self.font, anchor="ma")

    def _ticks_beside(self, row: int, left: int, top: int) -> None:
        for share, text in _ticks(self.view.low[row], self.view.high[row], self.ticks):
            y = top + (1 - share) * self.side * FINE
            self.pen.line((left - TICK * FINE, y, left, y), fill=EDGE, width=FINE)
            self.pen.text((left - (TICK + 3) * FINE, y), text, fill=FAINT, font=self.font, anchor="rm")

    def legend(self, told: list[tuple[str, Colour]], rest: str) -> None:
        """One line above the panels."""
        x, y = float(self.left * FINE), TOP / 2 * FINE
        for text, colour in told:
            self.pen.ellipse((x, y - 4 * FINE, x + 8 * FINE, y + 4 * FINE), fill=colour)
            self.pen.text((x + 13 * FINE, y), text, fill=FAINT, font=self.font, anchor="lm")
            x += 30 * FINE + self._wide(text) * FINE
        self.pen.text((x, y), rest, fill=FAINT, font=self.font, anchor="lm")

    def finished(self) -> Array:
        return np.asarray(self.image.resize(self.size, Image.Resampling.LANCZOS))


def _dots(paper: Array, points: Array, colour: Colour) -> None:
    """Ink points [N, 2] in 0..1 onto a square float32 [S, S, 3]: many make small, pale dots, which add up."""
    side = len(paper)
    points = points[((points >= 0) & (points <= 1)).all(1)]
    count = max(1, len(points))
    radius, ink = FINE * min(4.5, max(1.3, 6.5 * count**-0.2)), min(0.9, max(0.4, 3 * count**-0.24))
    x, y = (np.minimum((place * side).astype(int), side - 1) for place in (points[:, 0], 1 - points[:, 1]))
    reach = math.ceil(radius)
    centres = np.bincount(y * side + x, minlength=side * side).reshape(side, side).astype(np.float32)
    padded = np.pad(centres, reach)
    covered = np.zeros((side, side), np.float32)
    for dy in range(2 * reach + 1):
        for dx in range(2 * reach + 1):
            if (dy - reach) ** 2 + (dx - reach) ** 2 <= radius**2:
                covered += padded[dy : dy + side, dx : dx + side]
    share = (1 - (1 - ink) ** covered)[..., None]
    paper *= 1 - share * (1 - np.array(colour, np.float32) / 255)  # like glass: what lies below shows through


def _histograms(paper: Array, made: Array, real: Array | None) -> None:
    """How often a value in 0..1 occurs: the reals filled, the samples as a line, both of one area."""
    side = len(paper)
    edges = np.linspace(0, 1, BINS + 1)
    heights = [np.histogram(v, edges)[0] / max(1, len(v)) for v in (made if real is None else real, made)]
    most = max(float(heights[0].max()), 1e-9) * 1.25  # the reals' alone: it stays when the samples change
    bins = np.minimum(np.arange(side) * BINS // side, BINS - 1)
    filled, line = (np.minimum(h / most, 1.0)[bins] * side for h in heights)
    above = side - np.arange(side)[:, None]
    paper[above <= filled] = PAPER if real is None else (206, 209, 214)
    before = np.concatenate([line[:WIDE], line[:-WIDE]])
    lower, upper = np.minimum(line, before), np.maximum(line, before)
    paper[(above <= upper + WIDE) & (above >= lower)] = MADE


def _ticks(low: float, high: float, least: int) -> list[tuple[float, str]]:
    """Round values between two ends as (share of the way, text), at least so many."""
    unit = 10.0 ** math.ceil(math.log10(high - low))
    steps = (unit * times / 10**power for power in range(3) for times in (1, 0.5, 0.2))
    step = next(step for step in steps if math.floor(high / step) - math.ceil(low / step) + 1 >= least)
    values = [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [((value - low) / (high - low), _short(value)) for value in values]


def _short(value: float) -> str:
    """Six letters where they say it all."""
    text, brief = f"{value:.12g}", f"{value:.3g}"
    return brief if len(text.lstrip("-")) > 6 and math.isclose(float(brief), value, rel_tol=1e-12) else text
