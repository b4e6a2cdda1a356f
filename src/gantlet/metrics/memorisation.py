"""Were the fakes made, or remembered? Four answers from the distances to the samples the generator was trained on."""

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
from gantlet.metrics.features import Features, build, matrix_of
from gantlet.metrics.frechet import frechet, trusted
from gantlet.metrics.interval import of_mean, of_share
from gantlet.metrics.moments import moments_of
from gantlet.metrics.nearest import Near, nearest, nearest_angle
from gantlet.metrics.neighbours import kept, radii_of, sum_up_against
from gantlet.metrics.ranks import binomial_tail, normal_tail, rank_test
from gantlet.metrics.regions import regions_of
from gantlet.metrics.sources import Kept, Source, spec_of

LEAST = 1e-6  # memorisation distance: smaller ones count as this, so that no MiFID is infinite
_CELL = 20  # fakes that a cell needs at least to be tested, as Meehan et al. 2020 have it
SURE = 0.01  # a p-value under which memorisation is said aloud
_FEW = 100  # held-out samples under which the nearest of them says little


@registry.metric
@about(interval="own", floor=False, nearer="neither")
def memorisation(
    real: Source,
    fake: Source,
    *,
    features: Annotated[Any, Slot("feature")] = {"use": "raw"},  # noqa: B006 (read only)
    held_out: Tensor | Kept | None = None,  # reals that the generator was not trained on; evaluation supplies them
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """Share of fakes nearer to the n reals than to the h held-out ones, and a one-sided binomial test of it against
    n / (n + h), what samples have that know neither (nearest neighbours as in Schilling 1986).

    `p_value` counts as many trials as are independent: several fakes whose nearest sample is the same one are one piece
    of evidence. With w_r fakes at sample r of N, that is F^2 (N - 1) / N / (sum w_r^2 - F^2 / N), from the variance under
    exchange of the two sets, as Korn and Graubard 1998 do for surveys, and at most F. Fakes as near to either are left
    out.
    """
    seen, real, fake = build(features, lambda: spec_of(real)), kept(real), kept(fake)
    held = _held(held_out, "memorisation")
    to_real, to_held = (_nearest(fake, to, seen, batch) for to in (real, held))
    n, h = (len(matrix_of(side, seen, batch=batch)) for side in (real, held))
    near, far = to_real.distance[:, 0], to_held.distance[:, 0]
    told = near != far
    nearer, trials, expected = int((near < far).sum()), int(told.sum()), n / (n + h)
    owner = torch.where(near < far, to_real.row[:, 0], n + to_held.row[:, 0])[told]
    independent = _independent(torch.bincount(owner, minlength=n + h).double())
    share = nearer / trials if trials else expected
    p_value = binomial_tail(share * independent, independent, expected) if trials else 1.0
    facts = _facts(seen, n, len(near), h)
    if p_value < SURE:
        copied = (
            f"the samples are nearer to the reference than held-out reals let expect (p = {p_value:.2g}): memorised"
        )
        facts["warning"] = "; ".join(filter(None, [copied, facts["warning"]]))
    return {
        "nearer": share,
        "expected": expected,
        "floors": {"nearer": expected},
        "p_value": p_value,
        "independent": independent,
        "ties": len(near) - trials,
        "intervals": {"nearer": list(of_share(nearer, trials) if trials else (0.0, 1.0))},
        "name": seen.called("Nearer to the reference"),
        **facts,
    }


@registry.metric
@about(mifid="lower")
def mifid(
    real: Source,
    fake: Source,
    *,
    features: Annotated[Any, Slot("feature")] = {"use": "raw"},  # noqa: B006 (read only)
    tau: Annotated[float, Field(gt=0, le=1)] = 0.1,  # the competition's, for Inception features
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """Memorisation-informed Frechet distance: FD / s where s < tau, else FD, with s the mean over the fakes of the least
    1 - |cos| to a real (Bai et al. 2021).

    s below 1e-6 counts as 1e-6 (the paper adds a small constant instead), and the answer is then not `valid`: the fakes
    are copies, of which FD knows nothing. `tau` was chosen for Inception features; elsewhere compare `memorisation_distance`
    with that of held-out reals.
    """
    seen, real, fake = build(features, lambda: spec_of(real)), kept(real), kept(fake)
    r, f = (moments_of(side, seen, batch=batch) for side in (real, fake))

    def angles(fake: Source) -> Tensor:
        return nearest_angle(matrix_of(fake, seen, batch=batch), matrix_of(real, seen, batch=batch))

    apart = float(sum_up_against(fake, ("angles", seen.key), angles, torch.cat, of=real).mean())
    fd = frechet(r, f)
    found = {
        "mifid": fd / max(apart, LEAST) if apart < tau else fd,
        "fd": fd,
        "memorisation_distance": apart,
        "name": seen.called("MiFD"),
        "network": seen.hash,
        "real_count": r.count,
        "fake_count": f.count,
        **trusted(min(r.count, f.count), seen.dimension),
    }
    if apart < LEAST:
        found |= {"valid": False, "warning": "every fake is a copy of a real up to its scale: this is no generator"}
    return found


@registry.metric
@about(interval="own", authpct="higher")
def authpct(
    real: Source,
    fake: Source,
    *,
    features: Annotated[Any, Slot("feature")] = {"use": "raw"},  # noqa: B006 (read only)
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """Percentage of authentic fakes, those farther from their nearest real than that real is from its own nearest real
    (Alaa et al. 2022; in percent as in Stein et al. 2023).

    What fresh reals have depends on the dimensions they spread in (a Gaussian 34 in 1, 70 in 16, 86 in 512): compare
    with held-out reals. It also rises with bad samples, which are far from everything.
    """
    seen, real, fake = build(features, lambda: spec_of(real)), kept(real), kept(fake)
    gap = radii_of(real, seen, 1, batch=batch)
    near = _nearest(fake, real, seen, batch)
    authentic = near.distance[:, 0] > gap[near.row[:, 0]]
    hits, m = int(authentic.sum()), len(authentic)
    return {
        "authpct": 100 * hits / m,
        "intervals": {"authpct": [100 * end for end in of_share(hits, m)]},
        "name": seen.called("AuthPct"),
        **_facts(seen, len(gap), m),
    }


@registry.metric
@about(interval="own", floor=False, ct="neither")
def ct(
    real: Source,
    fake: Source,
    *,
    features: Annotated[Any, Slot("feature")] = {"use": "raw"},  # noqa: B006 (read only)
    held_out: Tensor | Kept | None = None,  # reals that the generator was not trained on; evaluation supplies them
    cells: Annotated[int, Field(ge=1)] = 1,  # of k-means on the reals; 1 is the global test, N(0, 1) if all is well
    seed: int = 0,  # of the cells
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """C_T, the Mann-Whitney z-score of fakes' against held-out reals' distances to the nearest real: far below 0 they
    were copied, far above they are off (Meehan, Chaudhuri and Dasgupta 2020).

    U counts the pairs with the fake farther, z = (U - m h / 2) / s, s^2 = m h (m + h + 1) / 12 less what ties take. With
    `cells` it is the mean of the z-scores of the cells that hold 20 fakes and a held-out real, weighted by their
    held-out reals; distances are to all reals, whichever their cell, and the spread is then below 1. `p_value` is of
    copying, one-sided, for one cell.
    """
    seen, real, fake = build(features, lambda: spec_of(real)), kept(real), kept(fake)
    held = _held(held_out, "ct")
    own, others = (_nearest(side, real, seen, batch).distance[:, 0] for side in (fake, held))
    rows = [matrix_of(side, seen, batch=batch) for side in (real, fake, held)]
    places = (
        regions_of(rows, cells, seed) if cells > 1 else [torch.zeros_like(d, dtype=torch.int64) for d in (own, others)]
    )
    weight, total, variance, tested = 0, 0.0, 0.0, 0
    for cell in range(cells):
        mine, theirs = own[places[-2] == cell], others[places[-1] == cell]
        if len(theirs) == 0 or len(mine) < (_CELL if cells > 1 else 1):
            continue
        z, error = rank_test(mine, theirs)
        weight, total, tested = weight + len(theirs), total + len(theirs) * z, tested + 1
        variance += (len(theirs) * error) ** 2
    if not tested:
        raise InputError(
            f"none of {cells} cells holds {_CELL} fakes and a held-out real; take fewer cells or more samples"
        )
    score, m = total / weight, len(own)
    return {
        "ct": score,
        "p_value": normal_tail(-score),
        "cells": cells,
        "tested_cells": tested,
        "intervals": {"ct": list(of_mean(score, math.sqrt(variance * m) / weight, m))},
        "name": seen.called("C_T"),
        **_facts(seen, len(rows[0]), m, len(others)),
    }


def _held(source: Any, name: str) -> Source:
    if source is None:
        raise InputError(f"{name} needs reals that were not trained on: give held_out, or a data set with a test split")
    return kept(source)


def _nearest(source: Source, to: Source, seen: Features, batch: int) -> Near:
    """The nearest sample of another set to each of one: what three of these metrics look at, remembered."""

    def make(source: Source) -> Near:
        return nearest(matrix_of(source, seen, batch=batch), matrix_of(to, seen, batch=batch))

    return sum_up_against(source, ("nearest", seen.key), make, of=to)


def _independent(held: Tensor) -> float:
    """How many independent trials fakes are that are nearest to each of N samples so many times."""
    n, fakes = len(held), float(held.sum())
    excess = float(held.square().sum()) - fakes**2 / n
    return fakes if excess * n <= fakes * (n - 1) else fakes**2 * (n - 1) / n / excess


def _facts(seen: Features, n: int, m: int, h: int | None = None) -> dict[str, Any]:
    few = h is not None and h < _FEW
    said = f"{h} held-out samples are few to compare with; take {_FEW} or more" if few else ""
    counts = {} if h is None else {"held_out_count": h}
    return {"network": seen.hash, "real_count": n, "fake_count": m, **counts, "warning": said}
