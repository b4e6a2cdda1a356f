"""From one sample to the next without leaving what the generator knows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.explore.space import Made, Space, latents, pictures_only
from gantlet.metrics.path_length import lerp, slerp

WAYS = {"slerp": slerp, "lerp": lerp}


def walk(points: Tensor, frames: int, *, way: str, loop: bool = False) -> Tensor:
    """Codes from each point [k, d] to the next, `frames` a leg: [(k - 1) frames + 1, d], or [k frames, d] round and round.

    Points are hit exactly; a loop's last frame is the one before its first.
    """
    if way not in WAYS:
        raise InputError(f"way={way}: use {' or '.join(WAYS)}")
    if frames < 1 or len(points) < 2:
        raise InputError(
            f"{len(points)} points and {frames} frames: a walk is between at least 2, in at least 1 frame a leg"
        )
    legs = len(points) if loop else len(points) - 1
    step = torch.arange(legs * frames, device=points.device)
    a, b = points[step // frames], points[(step // frames + 1) % len(points)]
    host = "cpu" if points.device.type == "mps" else points.device  # which knows no float64
    t = (step % frames / frames).to(host).double().unsqueeze(1)
    between = WAYS[way](a.to(host).double(), b.to(host).double(), t).to(points)
    path = torch.where((step % frames == 0).unsqueeze(1), a, between)
    return path if loop else torch.cat([path, points[-1:]])


def by_leg(path: Tensor, frames: int) -> Tensor:
    """A walk as its legs [k - 1, frames + 1, ...], both ends in each; a loop as [k, frames, ...]."""
    if len(path) % frames == 0:
        return path.view(-1, frames, *path.shape[1:])
    return torch.stack([path[i : i + frames + 1] for i in range(0, len(path) - 1, frames)])


def interpolate(
    model: Made, *, n: int = 5, frames: int = 8, seed: int = 0, seeds: Sequence[int] | None = None, space: str = "z",
    way: str | None = None, loop: bool = False, truncation: float | None = None, y: int | None = None,
) -> Tensor:  # fmt: skip
    """Samples on the way through n latents (or the first of each of `seeds`), float32 [frames, C, H, W].

    `way`: slerp in z, where normals lie near a sphere (White 2016), lerp in w. Choices (class, generator) are those of the
    first latent all along. Ends are the samples that `Model.sample` gives, but for the noise of style generators, which
    is held.
    """
    pictures_only(model, "interpolate")
    if seeds is not None and len(seeds) < 2:
        given = ",".join(map(str, seeds))
        raise InputError(f"seeds={given}: a walk is between the samples of at least two seeds, such as 3,17")
    place = Space(model.game, space, y=y, truncation=truncation)
    with torch.no_grad():
        points = place.codes_of(latents(model.game, n, seed=seed, seeds=seeds, hold=True))
    free = points.shape[1] - place.fixed
    path = walk(points[:, :free], frames, way=way or ("lerp" if space == "w" else "slerp"), loop=loop)
    return place.images(torch.cat([path, points[:1, free:].expand(len(path), place.fixed)], 1))
