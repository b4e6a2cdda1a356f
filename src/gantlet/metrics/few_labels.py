"""How often a critic that learned classes from few labels is wrong."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Game
from gantlet.metrics.about import about
from gantlet.metrics.interval import of_share
from gantlet.metrics.path_length import _still
from gantlet.metrics.purity import table_of
from gantlet.metrics.sources import Kept, Source


@registry.metric.named("error-rate")
@about(interval="own", floor=False, of_reals=True, error_rate="lower")
def error_rate(
    real: Source,
    fake: Source,
    *,
    model: Game | None = None,  # one with `classify`: the game semi
    held_out: Tensor | Kept | None = None,
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """The share of held-out reals that the critic puts into a wrong class (Salimans et al. 2016: 0.93 % of MNIST's
    10,000 with 100 labels), 0..1.

    `by_class` is the share of each class's rows that is wrong. The critic is the one that was saved: an averaged one
    where the recipe has an average.
    """
    classify = getattr(model, "classify", None)
    if model is None or not callable(classify):
        raise InputError("an error rate is of a classifier and this model has none; evaluate a run of the recipe semi")
    if held_out is None:
        raise InputError("an error rate is of held-out reals and there are none; give data with a test split")
    with _still(model):
        device = next(model.parameters()).device
        counts = table_of(held_out, classify, batch=batch, device=device)
    total, of_class = int(counts.sum()), counts.sum(0).tolist()
    hits = [*counts.diagonal().tolist(), *[0] * len(of_class)]  # of classes it never saw none
    right = sum(hits[: len(of_class)])
    return {
        "error_rate": 1 - right / total,
        "by_class": {str(c): 1 - hits[c] / n for c, n in enumerate(of_class) if n},
        "wrong": total - right,
        "name": "error rate",
        "real_count": total,
        "fake_count": 0,
        "intervals": {"error_rate": list(of_share(total - right, total))},
        "warning": "",
    }
