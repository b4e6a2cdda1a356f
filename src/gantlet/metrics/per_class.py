"""The Frechet distance within each class: samples that are good but of the wrong class are seen."""

from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.registry import Slot
from gantlet.metrics.about import about
from gantlet.metrics.features import Features, build, matrix_of
from gantlet.metrics.frechet import frechet
from gantlet.metrics.moments import Moments
from gantlet.metrics.sources import Chosen, Joined, Kept, Source, batches_of, spec_of


class _Side(NamedTuple):
    x: Tensor  # features [N, d]
    y: Tensor  # labels [N]


@registry.metric
@about(per_class_fd="lower")
def per_class_fd(
    real: Source,
    fake: Source,
    *,
    features: Annotated[Any, Slot("feature")] = {"use": "raw"},  # noqa: B006 (read only)
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """The mean over classes of the Frechet distance within a class (Miyato and Koyama 2018, intra-FID), 0 and up.

    Both sides bear labels: what a class was, and what it was asked for. `by_class` has each, `real_counts` and
    `fake_counts` on what; a class with fewer than 2 samples on either side has no distance and is in `left_out`. Not
    `valid` where a class is left out or has under twice as many samples as dimensions.
    """
    seen = build(features, lambda: spec_of(real))
    r, f = _side(real, seen, batch, "real"), _side(fake, seen, batch, "fake")
    classes = torch.unique(torch.cat([r.y, f.y])).tolist()
    counts = {c: (int((r.y == c).sum()), int((f.y == c).sum())) for c in classes}
    kept = [c for c in classes if min(counts[c]) >= 2]
    if not kept:
        raise InputError(f"no class has 2 samples on both sides (classes {_few(classes)}); label both sets alike")
    by_class = {str(c): frechet(_moments(r, c, seen), _moments(f, c, seen)) for c in kept}
    left_out = [c for c in classes if c not in kept]
    return {
        "per_class_fd": math.fsum(by_class.values()) / len(by_class),
        "by_class": by_class,
        "real_counts": {str(c): counts[c][0] for c in classes},
        "fake_counts": {str(c): counts[c][1] for c in classes},
        "left_out": left_out,
        "name": seen.called("intra-FD"),
        "network": seen.hash,
        "dimension": seen.dimension,
        "real_count": len(r.y),
        "fake_count": len(f.y),
        **_trusted(counts, left_out, seen.dimension),
    }


def _side(source: Source, features: Features, batch: int, name: str) -> _Side:
    """Features and labels; InputError where there are no labels."""
    if not isinstance(source, Kept | Joined):  # which may be a stream: one pass for both
        xs, ys = zip(*((features(rows.x), _labels(rows.y, name)) for rows in _read(source, features, batch)))
        return _Side(torch.cat(xs), torch.cat(ys))
    if isinstance(source, Joined):
        sides = [_side(part, features, batch, name) for part in source.parts]
        return _Side(torch.cat([s.x for s in sides]), torch.cat([s.y for s in sides]))

    return _Side(matrix_of(source, features, batch=batch), _kept_labels(source, batch, name))


def _kept_labels(source: Kept, batch: int, name: str) -> Tensor:
    if isinstance(source, Chosen):
        return _kept_labels(source.whole, batch, name)[source.index]

    def make(source: Source) -> Tensor:
        return torch.cat([_labels(rows.y, name) for rows in batches_of(source, batch=batch)])

    return source.sum_up("labels", make)


def _read(source: Source, features: Features, batch: int) -> Any:
    return batches_of(source, batch=batch, device=features.device)


def _labels(y: Tensor | None, name: str) -> Tensor:
    if y is None or y.ndim != 1 or y.is_floating_point() or bool((y < 0).any()):
        have = (
            "no labels"
            if y is None or bool((y < 0).all())
            else "samples without a label, or labels that are no classes"
        )
        raise InputError(
            f"a distance within classes needs a class for every sample and the {name} set has {have}; "
            "give labelled data and a conditional model's samples with what was asked for, or take fd"
        )
    return y.cpu().long()


def _moments(side: _Side, of: int, features: Features) -> Moments:
    moments = Moments(features.dimension, of=features.key)
    for some in torch.split((side.y == of).nonzero().flatten(), 4096):
        moments.add(side.x[some.to(side.x.device)])
    return moments


def _few(classes: list[int]) -> str:
    return ", ".join(map(str, classes[:10])) + (", ..." if len(classes) > 10 else "")


def _trusted(counts: dict[int, tuple[int, int]], left_out: list[int], dimension: int) -> dict[str, Any]:
    """`valid` and `warning`."""
    need = 2 * dimension
    least = min(min(pair) for c, pair in counts.items() if c not in left_out)
    said = []
    if left_out:
        said.append(f"classes {_few(left_out)} have fewer than 2 samples on one side and are left out")
    if least < need:
        said.append(
            f"{least} samples of a class for {dimension} dimensions: the distance is mostly bias; take at least {need} "
            "of each, or a network of fewer dimensions"
        )
    return {"valid": not said, "warning": "; ".join(said)}
