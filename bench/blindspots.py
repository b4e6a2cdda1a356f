"""`gantlet bench blindspots`: what each metric sees of fakes that are damaged in a known way, and what it misses.

Half of the digits is the reference, the other half are the fakes: perfect ones at first, then noisy, blurred, of half
the classes, repeated, or copied from the reference. A metric sees a damage when its score leaves the 95 % interval of
the undamaged fakes on the bad side; it is fooled when it leaves it on the good side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import gantlet.metrics
from common import machine, machine_text
from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Batch
from gantlet.core.noise import normal
from gantlet.data import open_source
from gantlet.metrics.about import about_of
from gantlet.metrics.evaluation import evaluate
from gantlet.metrics.interval import GROUPS
from gantlet.metrics.learn import train_classifier

Say = Callable[[str], None]
Damage = Callable[[Batch, Batch], Batch]  # (reference, perfect fakes) -> fakes
PAIRED = ("psnr", "ssim", "ms-ssim")  # row against row: not of two sets
# of a generator, of points, of labels
LEFT_OUT = (*PAIRED, "path-length", "modes", "curve", "accuracy-score", "equivariance", "reconstruction")
LEFT_OUT += ("purity", "error-rate", "as-asked")


def noisy(amount: float) -> Damage:
    """Gaussian noise of this deviation, clamped to -1..1."""
    return lambda real, fake: fake._replace(
        x=(fake.x + amount * normal(tuple(fake.x.shape[1:]), len(fake.x), key=("damage", "noise"))).clamp(-1, 1)
    )


def blurred(times: int) -> Damage:
    """3 x 3 averages, so many times, the border repeated."""

    def blur(real: Batch, fake: Batch) -> Batch:
        x = fake.x
        for _ in range(times):
            x = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
        return fake._replace(x=x)

    return blur


def _rows(fake: Batch, index: Tensor) -> Batch:
    return Batch(fake.x[index], None if fake.y is None else fake.y[index])


def dropped(keep: int) -> Damage:
    """Only the first classes, drawn again until there are as many samples."""

    def drop(real: Batch, fake: Batch) -> Batch:
        assert fake.y is not None
        own = (fake.y < keep).nonzero().flatten()
        return _rows(fake, own[torch.arange(len(fake.x)) % len(own)])

    return drop


def repeated(times: int) -> Damage:
    """Every sample so many times, from as many fewer: a generator with a small support."""
    return lambda real, fake: _rows(fake, torch.arange(len(fake.x)) // times)


def copied(real: Batch, fake: Batch) -> Batch:
    """Rows of the reference: a generator that has learned it by heart."""
    return _rows(real, torch.arange(len(fake.x)) % len(real.x))


DAMAGES: dict[str, Damage] = {
    "noise 0.2": noisy(0.2), "noise 0.6": noisy(0.6), "blur": blurred(1), "more blur": blurred(3),
    "5 of 10 classes": dropped(5), "each 10 times": repeated(10), "copies": copied,
}  # fmt: skip


def halves() -> tuple[Batch, Batch, Batch, Any]:
    """Reference, perfect fakes, held-out reals, and the data set of the reference's split."""
    digits = open_source("digits")
    n = len(digits) // 2
    held = digits.with_split("test")
    rows = [digits.rows(torch.arange(i, 2 * n, 2)) for i in (0, 1)]
    return rows[0], rows[1], held.rows(torch.arange(len(held))), digits


class First:
    """The reference as a data set to learn from."""

    def __init__(self, digits: Any, real: Batch) -> None:
        self.spec, self.real = digits.spec._replace(count=len(real.x)), real

    def __len__(self) -> int:
        return len(self.real.x)

    def rows(self, index: Tensor, device: torch.device | None = None) -> Batch:
        return _rows(self.real, index)


def measured_names() -> list[str]:
    """The metrics of two sets of images."""
    return [name for name in registry.metric.parts if name not in LEFT_OUT]


def measure(*, data: str | None = None, quick: bool = False, say: Say = print) -> dict[str, Any]:
    """The table as one JSON-able record."""
    if data is not None:
        raise InputError("bench blindspots is of the digits; leave --data out")
    real, fake, held, digits = halves()
    judge = train_classifier(First(digits, real), test=digits.with_split("test"), epochs=60)  # by the reference alone
    names = ["fd", "classes"] if quick else measured_names()
    given = {"features": judge.features, "classifier": judge}
    rows = {}
    for name in names:
        whole = evaluate([real], [fake], metrics=[name], held_out=[held], **given)
        damaged = {
            label: evaluate([real], [harm(real, fake)], metrics=[name], held_out=[held], intervals=False, **given)
            for label, harm in DAMAGES.items()
        }
        for score in whole.scores:
            if score.metric == name and score.value is not None:
                found = {label: _value(report, score.metric, score.key) for label, report in damaged.items()}
                reach = None if score.interval is None else list(score.interval[:2])
                better = about_of(registry.metric.find(name).fn).scores[score.key]
                rows[f"{name}.{score.key}"] = {
                    "name": score.name, "value": score.value, "interval": reach, "better": better, "damaged": found
                }  # fmt: skip
        say(name)
    return {"machine": machine(), "judge": judge.hash, "accuracy": judge.accuracy, "rows": rows,
            "counts": [len(real.x), len(fake.x), len(held.x)], "groups": GROUPS}  # fmt: skip


def _value(report: gantlet.metrics.EvaluationReport, metric: str, key: str) -> float | None:
    return next((s.value for s in report.scores if (s.metric, s.key) == (metric, key)), None)


def verdict(row: dict[str, Any], value: float | None) -> str:
    """ "sees", "fooled" or "misses"; "" where the metric says nothing of it."""
    if value is None or row["interval"] is None or row["better"] == "neither":
        return ""
    low, high = row["interval"]
    if low <= value <= high:
        return "misses"
    return "sees" if (value > high) == (row["better"] == "lower") else "fooled"


def text(table: dict[str, Any]) -> str:
    """The record as the page's markdown: scores, those that see the damage in bold, those it flatters in italics."""
    first = next(iter(table["rows"].values()))
    labels = list(first["damaged"])
    counts = table["counts"]
    lines = [
        f"Machine: {machine_text(table['machine'])}. Digits, {counts[0]} reals against {counts[1]} others; features and "
        f"classes of LeNet {table['judge'][:16]} ({table['accuracy']:.1%} right). **Bold**: seen; *italics*: the damage "
        "is taken for an improvement; plain: inside the interval of undamaged fakes.",
        "",
        f"| score | better | undamaged | {' | '.join(labels)} |",
        "|---" * (len(labels) + 3) + "|",
    ]
    marks = {"sees": "**", "fooled": "*", "misses": "", "": ""}
    for row in table["rows"].values():
        cells = []
        for value in row["damaged"].values():
            mark = marks[verdict(row, value)]
            cells.append("withheld" if value is None else f"{mark}{value:.3g}{mark}")
        reach = "" if row["interval"] is None else f" ({row['interval'][0]:.3g} .. {row['interval'][1]:.3g})"
        lines.append(f"| {row['name']} | {row['better']} | {row['value']:.3g}{reach} | {' | '.join(cells)} |")
    return "\n".join(lines)
