"""Several metrics of one pair of sets, and what two real sets score by the same ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.registry import Part, Tree
from gantlet.metrics.classify import Classifier
from gantlet.metrics.features import Features, build
from gantlet.metrics.sources import Kept, Source, once, spec_of


def evaluate(
    real: Source,
    fake: Source,
    *,
    features: str | Tree | Features = "raw",
    metrics: Iterable[str] | Mapping[str, Tree | str] = ("fd",),
    held_out: Source | None = None,
    classifier: str | Classifier | None = None,
    batch: int = 256,
    device: torch.device | str | None = None,
) -> dict[str, Any]:
    """{label: scores} of every metric, by name or as a map label -> `{use: name, **options}`.

    With `held_out` (real samples that are not in `real`) also `floor`: {label: scores} of it in the fakes' place, what
    a perfect generator would score with that many samples. `features`, `classifier` and `batch` go to the metrics that
    have such an option and do not set it. A `Kept` real set is summed up once for all calls.
    """
    chosen = _checked(metrics)
    for name, side in {"real": real, "fake": fake, "held_out": held_out}.items():
        if len(chosen) > 1 and side is not None and once(side):
            raise InputError(
                f"{name} is a stream and {len(chosen)} metrics read it; give a tensor, a list or a data set"
            )
    real = real if isinstance(real, Kept) else Kept(real)
    judge = Classifier.load(classifier) if isinstance(classifier, str) else classifier
    shared: dict[str, Any] = {"batch": batch, "classifier": judge}
    if any("features" in part.options and "features" not in own for part, own in chosen.values()):
        shared["features"] = build(features, lambda: spec_of(real))
    _move(shared, device)
    out = {label: _run(part, own, shared, real, fake) for label, (part, own) in chosen.items()}
    if held_out is not None:
        out["floor"] = {label: _run(part, own, shared, real, held_out) for label, (part, own) in chosen.items()}
    return out


def _checked(metrics: Iterable[str] | Mapping[str, Tree | str]) -> dict[str, tuple[Part, Tree]]:
    """label -> the metric and the options that were set; InputError with every fault."""
    if isinstance(metrics, str):
        metrics = [metrics]
    asked = dict(metrics) if isinstance(metrics, Mapping) else {name: name for name in metrics}
    faults: list[str] = [] if asked else ["no metric was asked for; give at least one, e.g. fd"]
    faults += [f"a metric cannot be labelled {label!r}; take another label" for label in asked if label == "floor"]
    chosen = {}
    for label, data in asked.items():
        tree, found = registry.check("metric", data, label, {"use": label})
        faults += found
        given = set() if isinstance(data, str) else set(data)
        if not found:
            chosen[label] = registry.metric.find(tree["use"]), {k: v for k, v in tree.items() if k in given - {"use"}}
    if faults:
        raise InputError(faults)
    return chosen


def _move(shared: dict[str, Any], device: torch.device | str | None) -> None:
    """Networks to the device, where one was named."""
    if device is None:
        return
    for seen in (shared.get("features"), getattr(shared["classifier"], "features", None)):
        if seen is not None:
            seen.to(device)


def _run(part: Part, own: Tree, shared: Mapping[str, Any], real: Source, fake: Source) -> dict[str, Any]:
    options = {k: v for k, v in shared.items() if k in part.options} | own
    scores: dict[str, Any] = part.fn(real, fake, **options)
    return scores
