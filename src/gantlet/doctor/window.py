"""Windows: what the vitals of some steps come to. Detectors see windows alone, so a log of them can be judged again."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from gantlet.doctor.ring import Row

LEAST = 20  # steps that a correlation in time needs


class Window(NamedTuple):
    """Means, and under NAME.std deviations over the steps first..last; NaN is left out."""

    first: int
    last: int
    values: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        return {"first": self.first, "last": self.last, "values": {k: _short(v) for k, v in self.values.items()}}

    @classmethod
    def of_json(cls, record: Mapping[str, Any]) -> Window:
        values = {k: math.nan if v is None else float(v) for k, v in record["values"].items()}
        return cls(int(record["first"]), int(record["last"]), values)


def window(
    pulses: Sequence[Row], looks: Sequence[Row], more: Mapping[str, float], *, batch: int, step: int = 0
) -> Window:
    """One window of the rows of some steps; `more` is what was measured once in it, at `step` where there are no rows."""
    values = {**_moments(looks), **_moments(pulses)}
    for turn in {name.rpartition(".")[0] for name in values if name.endswith(".auc")}:
        values |= {f"{turn}.{k}": v for k, v in _gap(turn, pulses, values, batch).items()}
        values |= {f"{turn}.{k}": v for k, v in _centre(turn, values, batch).items()}
    steps = [row.step for row in (*pulses, *looks)]
    # rounded as it is written down, so that judging the log again comes to the same
    found = {k: math.nan if (s := _short(v)) is None else s for k, v in {**values, **more}.items()}
    return Window(min(steps, default=step), max(steps, default=step), found)


def _moments(rows: Iterable[Row]) -> dict[str, float]:
    series: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.values.items():
            if math.isfinite(value):
                series.setdefault(name, []).append(value)
            else:
                series.setdefault(name, [])
    found: dict[str, float] = {}
    for name, values in series.items():
        found[name] = statistics.fmean(values) if values else math.nan
        if len(values) > 1:
            found[f"{name}.std"] = _deviation(values)
    return found


def _gap(turn: str, pulses: Sequence[Row], values: Mapping[str, float], batch: int) -> dict[str, float]:
    """gap (mean logit of reals less that of fakes), separation (in units of the logits' spread), gap.z (its deviation over
    time in units of the noise of a batch), and its correlation with itself one and two steps later."""
    names = (f"{turn}.real", f"{turn}.fake")
    series = [r.values[names[0]] - r.values[names[1]] for r in pulses if all(n in r.values for n in names)]
    series = [value for value in series if math.isfinite(value)]
    spread = values.get(f"{turn}.spread", math.nan)
    if not series:
        return {}
    gap = statistics.fmean(series)
    found = {"gap": gap, "separation": gap / spread if spread > 0 else math.nan}
    if len(series) >= LEAST:
        deviation = _deviation(series)
        found["gap.std"] = deviation
        found["gap.z"] = deviation / (spread * math.sqrt(2 / batch)) if spread > 0 else math.nan
        found["gap.acf1"], found["gap.acf2"] = correlation(series, 1), correlation(series, 2)
    return found


def _centre(turn: str, values: Mapping[str, float], batch: int) -> dict[str, float]:
    """centre.z: how far the middle of the fakes moves about, in units of a batch's noise; centre: its distance from the
    reals' in units of their width. Of several directions the largest."""
    moves, offs = [], []
    k = 0
    while f"{turn}.width.{k}" in values:
        width = values[f"{turn}.width.{k}"]
        if width > 0:
            moves.append(values.get(f"{turn}.fake_at.{k}.std", math.nan) / (width / math.sqrt(batch)))
            offs.append(abs(values[f"{turn}.fake_at.{k}"] - values[f"{turn}.real_at.{k}"]) / width)
        k += 1
    found = {"centre.z": max(moves, default=math.nan), "centre": max(offs, default=math.nan)}
    return {name: value for name, value in found.items() if not math.isnan(value)}


def correlation(series: Sequence[float], lag: int) -> float:
    """Of a series with itself `lag` steps later; NaN of a constant one."""
    mean = statistics.fmean(series)
    off = [value - mean for value in series]
    power = math.fsum(v * v for v in off)
    return math.fsum(a * b for a, b in zip(off, off[lag:])) / power if power > 0 else math.nan


def _deviation(values: Sequence[float]) -> float:
    mean = statistics.fmean(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values))


def _short(value: float) -> float | None:
    """Six digits; None for what JSON has no number for."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
