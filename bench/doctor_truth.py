"""What is healthy, without asking the doctor: all modes, good points, even shares; or classes and a distance of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from doctor_sets import BEDS, Table, tables
from gantlet.core.game import Game
from gantlet.metrics.curve import Curve
from gantlet.metrics.modes import modes
from seeds import drawn

FEW = 2_500  # samples, as in the papers
HQ, KL = 0.6, 0.1  # least share of points within three sigmas of a mode, most KL of their shares to even ones
FEW_IMAGES = 1_000
BINS = 20  # of the curve's length


@dataclass(frozen=True)
class Health:
    """One look."""

    healthy: bool
    score: float  # higher is better: what the trace shows
    numbers: dict[str, float]


Judge = Callable[[Game, float], Health]  # (game, unit of its samples)


def judge_of(name: str, folder: str, fed: Table, *, uneven: bool = False) -> Judge:
    """How a set is judged that was trained on these rows; `uneven`: their shares are the right ones."""
    if len(BEDS[name].modes):
        return lambda game, unit: of_modes(name, samples(game, FEW) / unit, fed if uneven else None)
    if BEDS[name].source.startswith("toy:"):
        return lambda game, unit: of_curve(name, samples(game, FEW) / unit)
    from doctor_images import judge_images

    return judge_images(name, folder, fed)


def samples(game: Game, n: int) -> Tensor:
    """n samples in evaluation mode, of latents that are always the same."""
    return torch.cat([some[0].cpu() for some in drawn(game, (0,), n, batch=n)])


def bad(fake: Tensor) -> Health | None:
    """What nothing can be said of."""
    return None if bool(torch.isfinite(fake).all()) else Health(False, 0.0, {})


def of_modes(name: str, fake: Tensor, shares: Table | None) -> Health:
    """All modes hit, HQ at least 0.6, KL at most 0.1 (of shares to those of the data, where they are not even)."""
    if (lost := bad(fake)) is not None:
        return lost
    bed = BEDS[name]
    centres = [(float(x), float(y)) for x, y in bed.modes]
    got = modes(fake, fake, centres=centres, sigma=bed.sigma)
    kl = got["kl"] if shares is None else _kl(fake, bed.modes, 3 * bed.sigma, shares)
    numbers = {k: float(got[k]) for k in ("modes", "solid_modes", "high_quality")} | {"kl": kl}
    fine = got["modes"] == got["of"] and got["high_quality"] >= HQ and kl <= KL
    return Health(bool(fine), got["solid_modes"] / got["of"] * got["high_quality"], numbers)


def _kl(fake: Tensor, centres: Tensor, radius: float, shares: Table) -> float:
    far, mode = torch.cdist(fake.double(), centres.double()).min(1)
    counts = torch.bincount(mode[far < radius], minlength=len(centres)).double()
    assert shares.y is not None
    want = torch.bincount(shares.y, minlength=len(centres)).double()
    p, q = counts / counts.sum().clamp(min=1), want / want.sum()
    return float(torch.xlogy(p, p / q.clamp(min=1e-9)).sum())


@cache
def _curve(name: str) -> Curve:
    return Curve(tables(name, "")[0].x[:10_000], bins=BINS)


def of_curve(name: str, fake: Tensor) -> Health:
    """Every bin of the curve has at least 0.2 of its share, KL at most 0.1."""
    if (lost := bad(fake)) is not None:
        return lost
    got: dict[str, Any] = _curve(name).against(fake)
    numbers = {k: float(got[k]) for k in ("solid_bins", "kl", "off", "sliced_w2")}
    fine = got["solid_bins"] == got["of"] and got["kl"] <= KL
    return Health(bool(fine), got["solid_bins"] / got["of"] * (1 - got["off"]), numbers)
