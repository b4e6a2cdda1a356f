"""A curve for each finding, from trainings that `gantlet bench doctor` kept: `python bench/doctor_curves.py`.

Three that no fault of that benchmark brings about are trained here. Each picture is the vital that a finding is seen by,
in a training broken on purpose (orange) and in a healthy one of the same set (blue), with the healthy band shaded and a
line at the window that first showed it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from cells import Cells
from doctor import CASES, One
from doctor_controls import CONTROLS
from doctor_faults import FREE, Case, each_player
from doctor_play import about_again
from doctor_scores import judged
from doctor_sets import DEV, Table
from gantlet.doctor import Diagnosis, Finding, Measure, Window
from gantlet.doctor.diagnosis import series

OUT = Path(__file__).parents[1] / "docs" / "images" / "doctor"
WIDE, HIGH, LEFT, TOP, BELOW, FINE = 560, 190, 64, 40, 24, 3  # pixels; drawn FINE times as large and shrunk
PAPER, BAND, GRID, INK, FAINT = (255, 255, 255), (232, 243, 233), (214, 217, 222), (32, 34, 40), (110, 114, 122)
ILL, WELL = (196, 84, 20), (40, 96, 168)
DECADES = 50.0  # values this far apart are drawn on a logarithmic axis

Curve = tuple[list[int], list[float]]


def one_mode(table: Table) -> Table:
    """The first mode of the ring, moved to the middle and stretched: so easy that both players come to rest."""
    assert table.y is not None
    mine = table.where(table.y == 0)
    return mine._replace(x=8 * (mine.x - mine.x.mean(0)))


EXTRA = {
    "cold": Case("small-steps", steps=2.0, changes=each_player(lr=1e-5)),
    "logits-grow": Case("loss-scale", steps=2.5,
                        changes={**FREE, "adversarial": "wasserstein", "precision": "fp16", **each_player(lr=1e-2)}),
    "adam-burst": Case("reinflation", steps=5.0, both=one_mode,
                       changes={**each_player(lr=5e-3, beta1=0.9, beta2=0.999), "batch": 512, "G.hidden": [16],
                                "D.hidden": [16], "penalties.r1.gamma": 1.0, "penalties.r2.gamma": 1.0}),
}  # fmt: skip


class Shown(NamedTuple):
    """One picture."""

    title: str
    below: str
    measure: Measure
    first: int
    ill: Curve
    well: Curve


def pictures(kept: Sequence[dict[str, Any]]) -> dict[str, Shown]:
    """A training for each finding: before others one that was broken so, whose cause it is, of a set for development."""
    plain = [cell for cell in kept if cell.get("case") in CASES and not cell["remedy"]]
    runs = [(cell, judged(cell, CASES[cell["case"]])) for cell in plain]
    fine = [(run, cell) for cell, run in runs if run.case in CONTROLS and run.health == "healthy" and not run.found]
    well = {run.set: cell for run, cell in fine}
    found: dict[str, tuple[int, Shown]] = {}
    for cell, run in runs:
        if run.set not in well or not run.expected:
            continue
        windows = [Window.of_json(w) for w in cell["windows"]]
        diagnosis = Diagnosis.of(about_again(cell), windows)
        for finding in diagnosis.ordered:
            if run.case in EXTRA and finding.name != run.expected:
                continue
            fits = 4 * (finding.name == run.expected) + 2 * (finding is diagnosis.cause) + (run.set in DEV)
            # an extra one has other networks or another length: nothing to lay beside it
            beside = [] if run.case in EXTRA else [Window.of_json(w) for w in well[run.set]["windows"]]
            shown = _shown(finding, cell, windows, beside)
            if shown is not None and fits > found.get(finding.name, (-1,))[0]:
                found[finding.name] = (fits, shown)
    return {name: shown for name, (_, shown) in found.items()}


def _shown(finding: Finding, cell: dict[str, Any], ill: Sequence[Window], well: Sequence[Window]) -> Shown | None:
    for measure in finding.sign.measures:
        curve = series(ill, measure.vital)
        if len(curve[0]) > 1:
            below = f"{cell['set']}, {cell['case']} (orange); {'a healthy training (blue); ' if well else ''}shaded: healthy"
            return Shown(measure.vital, below, measure, finding.first, curve, series(well, measure.vital))
    return None


def draw(shown: Shown, place: Path) -> None:
    """Write one picture."""
    sheet = Image.new("RGB", (WIDE * FINE, (TOP + HIGH + BELOW) * FINE), PAPER)
    pen = ImageDraw.Draw(sheet)
    title, small = (ImageFont.load_default(size * FINE) for size in (15, 12))
    pen.text((LEFT * FINE, 2 * FINE), shown.title, fill=INK, font=title)
    pen.text((LEFT * FINE, 21 * FINE), shown.below, fill=FAINT, font=small)
    axis = _Axis(shown)
    if axis.is_same:
        axis.shade(pen, shown.measure)
    for at in axis.ticks:
        y = axis.y(at)
        pen.line((LEFT * FINE, y, (WIDE - 8) * FINE, y), fill=GRID, width=FINE)
        pen.text(((LEFT - 6) * FINE, y), f"{at:.3g}", fill=FAINT, font=small, anchor="rm")
    pen.line((axis.x(shown.first), TOP * FINE, axis.x(shown.first), (TOP + HIGH) * FINE), fill=ILL, width=FINE)
    for curve, colour in ((shown.well, WELL), (shown.ill, ILL)):
        points = [(axis.x(s), axis.y(v)) for s, v in zip(*curve) if s <= axis.last]
        if len(points) > 1:
            pen.line(points, fill=colour, width=2 * FINE, joint="curve")
    for step in (shown.first, axis.last):
        pen.text((axis.x(step), (TOP + HIGH + 4) * FINE), f"{step}", fill=FAINT, font=small, anchor="ma")
    place.parent.mkdir(parents=True, exist_ok=True)
    sheet.resize((WIDE, TOP + HIGH + BELOW), Image.Resampling.LANCZOS).save(place, optimize=True)


class _Axis:
    """Steps and values as places on the sheet."""

    def __init__(self, shown: Shown) -> None:
        self.last = max(shown.ill[0])
        values = [v for s, v in zip(*shown.well) if s <= self.last] + shown.ill[1]
        bounds = [b for b in shown.measure.bounds if b is not None]
        # a measure may be of something else than its vital: then the band is not one of the curve
        value = shown.measure.value * shown.measure.unit
        self.is_same = any(abs(v - value) <= 1e-6 + 1e-3 * abs(v) for v in shown.ill[1]) and bool(bounds)
        values += bounds if self.is_same else []
        low, high = min(values), max(values)
        self.logarithmic = low > 0 and high / low > DECADES
        room = 0.06 * (high - low or abs(high) or 1.0)
        self.low, self.high = (low / 1.2, high * 1.2) if self.logarithmic else (low - room, high + room)

    @property
    def ticks(self) -> list[float]:
        if self.logarithmic:
            decades = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            return [10.0**k for k in decades][:: max(1, len(decades) // 4)]
        return [self.low + (self.high - self.low) * k / 3 for k in range(4)]

    def x(self, step: int) -> float:
        return (LEFT + (WIDE - 24 - LEFT) * step / max(self.last, 1)) * FINE

    def y(self, value: float) -> float:
        low, high, value = (
            (math.log(v) for v in (self.low, self.high, max(value, self.low)))
            if self.logarithmic
            else (self.low, self.high, value)
        )
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        return (TOP + HIGH * (1 - share)) * FINE

    def shade(self, pen: ImageDraw.ImageDraw, measure: Measure) -> None:
        least, most = measure.bounds
        low, high = self.low if least is None else least, self.high if most is None else most
        pen.rectangle((LEFT * FINE, self.y(high), (WIDE - 8) * FINE, self.y(low)), fill=BAND)


def main() -> None:
    cells = Cells("doctor")
    CASES.update(EXTRA)
    for case in EXTRA:
        one = One("ring", case, 0, False, "")
        if cells.find(one.facts) is None:
            cells.keep(one.facts, one.trained())
    for name, shown in pictures(list(cells.all())).items():
        draw(shown, OUT / f"{name}.png")
        print(f"{name}: {shown.below}")


if __name__ == "__main__":
    main()
