"""Modes of a mixture of equal round Gaussians in the plane: how many are found, how well, how evenly."""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.metrics.about import about
from gantlet.metrics.sources import Source, batches_of

_MEDIAN = math.sqrt(2 * math.log(2))  # of the radius, in sigmas


@registry.metric
@about(modes="higher", high_quality="higher", kl="lower", width="neither")
def modes(
    real: Source,
    fake: Source,
    *,
    centres: list[tuple[float, float]] | None = None,  # None: the means of the real set's labels
    sigma: Annotated[float, Field(gt=0)] | None = None,  # None: the spread around them
    batch: Annotated[int, Field(ge=1)] = 4096,
) -> dict[str, Any]:
    """Modes hit, share within 3 sigma, and KL(on-mode shares || even) of points (Lin et al. 2018, "PacGAN").

    A point is on its nearest mode when it is nearer than 3 sigma. `modes` have at least one such point, `solid_modes`
    a share of at least 0.2 / K; `high_quality` has the ceiling 1 - e^-4.5 = 0.9889; `kl` is in nats, log K when no
    point is on a mode, its floor (K - 1) / 2N. `width` is the median radius around each mode's own median over the
    true one: 1 is right, under 1 is collapse inside the modes (which raises `high_quality`).
    """
    means, spread = known(real, centres, sigma, batch)
    points = torch.cat([rows.x.double().cpu() for rows in batches_of(fake, batch=batch)])
    if points.shape[1:] != (2,):
        raise InputError(f"modes are of points in the plane [N, 2], the samples are {list(points.shape)}")
    distance, mode = torch.cdist(points, means, compute_mode="donot_use_mm_for_euclid_dist").min(1)
    near = distance < 3 * spread
    counts = torch.bincount(mode[near], minlength=len(means)).double()
    k, on = len(means), int(counts.sum())
    shares = counts / max(1, on)
    return {
        "modes": int((counts > 0).sum()),
        "solid_modes": int((counts / len(points) >= 0.2 / k).sum()),
        "of": k,
        "high_quality": on / len(points),
        "high_quality_ceiling": 1 - math.exp(-4.5),
        "kl": max(0.0, float(torch.xlogy(shares, shares * k).sum())) if on else math.log(k),
        "kl_floor": (k - 1) / (2 * len(points)),
        "width": _width(points, mode, spread, k),
        "fake_count": len(points),
        "warning": "",
    }


def known(
    real: Source, centres: list[tuple[float, float]] | None, sigma: float | None, batch: int
) -> tuple[Tensor, float]:
    """Centres float64 [K, 2] and sigma, as given or from the labels of the real points."""
    if centres is not None and sigma is not None:
        return torch.as_tensor(centres, dtype=torch.float64).view(-1, 2), sigma
    pairs = [(rows.x.double().cpu(), rows.y.cpu()) for rows in batches_of(real, batch=batch) if rows.y is not None]
    if not pairs:
        raise InputError("modes: say the `centres` and `sigma`, or give real points whose labels name the modes")
    points, label = (torch.cat(side) for side in zip(*pairs, strict=True))
    own = [points[label == m] for m in range(int(label.max()) + 1)]
    own = [p for p in own if len(p)]
    means = torch.stack([p.mean(0) for p in own])
    around = torch.cat([p - mean for p, mean in zip(own, means, strict=True)])
    if centres is not None:
        means = torch.as_tensor(centres, dtype=torch.float64).view(-1, 2)
    return means, sigma or float(around.square().mean().sqrt())


def _width(points: Tensor, mode: Tensor, sigma: float, k: int) -> float | None:
    """Median over the modes of the median radius around the mode's own median, over sigma sqrt(2 ln 2)."""
    own = [points[mode == m] for m in range(k)]
    radii = [(p - p.median(0).values).norm(dim=1).median() for p in own if len(p) >= 8]
    return float(torch.stack(radii).median()) / (sigma * _MEDIAN) if radii else None
