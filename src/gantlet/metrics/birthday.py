"""How many different things a generator makes, from how often two of its samples are the same thing."""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.registry import Slot
from gantlet.metrics.about import about
from gantlet.metrics.features import build, matrix_of
from gantlet.metrics.interval import NORMAL
from gantlet.metrics.nearest import within
from gantlet.metrics.neighbours import kept, radii_of
from gantlet.metrics.sources import Source, spec_of, sum_up

_NONE = math.log(20)  # with 95 % a duplicate is seen where this many are expected


@registry.metric
@about(interval="own", support="higher")
def birthday(
    real: Source,
    fake: Source,
    *,
    features: Annotated[Any, Slot("feature")] = {"use": "raw"},  # noqa: B006 (read only)
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.01,  # nearer than all but this share of the reals: a duplicate
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """Support size by the birthday paradox, 1 over the share of pairs of fakes that are duplicates (Arora, Risteski and
    Zhang 2018).

    Two fakes are duplicates within `threshold`, the distance under which a `quantile` of the reals have another real.
    For N equally likely things this is N; in the paper's words a batch of `batch_with_duplicates` has one with
    probability 1/2, and s^2 = 2 ln 2 N. Where some things are made more often it is less than their number: what is made
    most is counted. `real_support` is the same of the reals, the most that can be told apart at this threshold. Without
    any duplicate the answer is a lower bound (95 %), and `warning` says so.
    """
    seen, real, fake = build(features, lambda: spec_of(real)), kept(real), kept(fake)
    threshold = float(radii_of(real, seen, 1, batch=batch).quantile(quantile))
    own, others = (_duplicates(side, threshold, seen, batch) for side in (fake, real))
    support, exact = _support(own)
    found = {
        "support": support,
        "batch_with_duplicates": math.ceil(0.5 + math.sqrt(0.25 + 2 * math.log(2) * support)),
        "duplicates": int(own.sum()) // 2,
        "threshold": threshold,
        "real_support": _support(others)[0],
        "real_duplicates": int(others.sum()) // 2,
        "name": seen.called("Support"),
        "network": seen.hash,
        "real_count": len(others),
        "fake_count": len(own),
        "warning": "" if exact else f"no duplicates among {len(own)} fakes: the support is at least this; take more",
    }
    if exact:
        reach = math.exp(NORMAL * _spread(own))
        found["intervals"] = {"support": [support / reach, support * reach]}
    return found


def _duplicates(source: Source, threshold: float, seen: Any, batch: int) -> Tensor:
    """How many others of its own set are duplicates of each sample, float64 [n]."""

    def make(source: Source) -> Tensor:
        rows = matrix_of(source, seen, batch=batch)
        if len(rows) < 3:
            raise InputError(f"duplicates are looked for among 3 samples or more, there are {len(rows)}; take more")
        count = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
        for some in within(rows, None, torch.full_like(count, threshold, dtype=torch.float64)):
            count += torch.bincount(torch.cat([some.i[some.in_x], some.j[some.in_x]]), minlength=len(rows))
        return count.double().cpu()

    return sum_up(source, ("duplicates", seen.key, threshold), make)


def _support(count: Tensor) -> tuple[float, bool]:
    """Pairs over duplicates; a lower bound and False where there are none."""
    n, twice = len(count), float(count.sum())
    return (n * (n - 1) / twice, True) if twice else (n * (n - 1) / 2 / _NONE, False)


def _spread(count: Tensor) -> float:
    """The standard deviation of the share p of duplicate pairs over p: that of a U-statistic (Hoeffding 1948).

    Var p = (4 (n - 2) (q - p^2) + 2 (p - p^2)) / n (n - 1), q being the share of triples whose first is a duplicate of
    both others: what clusters of unequal size add to the chance of the pairs.
    """
    n = len(count)
    p = float(count.sum()) / (n * (n - 1))
    q = float((count * (count - 1)).sum()) / (n * (n - 1) * (n - 2))
    return math.sqrt((4 * (n - 2) * max(0.0, q - p * p) + 2 * (p - p * p)) / (n * (n - 1))) / p
