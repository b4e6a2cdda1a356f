"""Inversion: the code whose sample is a given image."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.explore.space import CHUNK, Made, Space, pictures_only
from gantlet.explore.truncation import Truncated
from gantlet.metrics.features import Features, build
from gantlet.metrics.path_length import unrounded

DRAWS = 512  # samples that starts are chosen from: a good start is worth more than many steps
Make = Callable[[Tensor], Tensor]
Distance = Callable[[Tensor, Tensor], Tensor]


class Inverted(NamedTuple):
    """What was found for each of N images."""

    codes: Tensor  # [N, z_dim], [N, w] or, in w+, [N, layers, w]
    images: Tensor  # float32 [N, C, H, W], the samples of those codes
    psnr: Tensor  # float64 [N], 10 log10(4 / mean square) dB for values in -1..1
    space: str


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """float64 [N] in dB, for images [N, C, H, W] in -1..1."""
    error = (a.double() - b.double()).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / error.clamp(min=1e-20))


def invert(
    model: Made, x: Tensor, *, space: str = "z", steps: int = 400, lr: float = 0.1, restarts: int = 8,
    features: Any = None, weight: float = 1.0, seed: int = 0, y: int | None = None,
) -> Inverted:  # fmt: skip
    """Codes by Adam on the mean square of pixels, from the best of 512 draws (Abdal et al. 2019, without StyleGAN's parts).

    x [N, C, H, W] in -1..1. `space`: z, w, or w+ (styles of each layer). `features`, a registered feature network or
    Features, adds `weight` times the relative square of its features. All restarts of an image are one batch; the best is
    kept. A game with `encode(x) -> latents` gives one of the starts. Choices (class, generator) are those of the start.
    """
    pictures_only(model, "invert")
    _check(model, x, steps, lr, restarts)
    place = Space(model.game, "w" if space == "w+" else space, y=y)
    seen = None if features is None else unrounded(build(features, lambda: model.spec))
    device = next(model.game.parameters()).device
    if seen is not None:
        seen.to(device)
    distance = _distance(seen, weight)
    at_once = max(1, CHUNK // restarts)
    found = [
        _found(model, place, part.to(device), distance, space == "w+", steps, lr, restarts, seed)
        for part in torch.split(x.float(), at_once)
    ]
    codes = torch.cat(found)
    images = place.images(codes)
    return Inverted(codes.cpu(), images, psnr(images, x.cpu()), space)


def _check(model: Made, x: Tensor, steps: int, lr: float, restarts: int) -> None:
    if isinstance(model.game, Truncated):
        raise InputError(
            "invert: this model's samples are truncated, and codes are of all it can make; invert by the whole"
        )
    if x.shape[1:] != torch.Size(model.spec.shape):
        raise InputError(f"invert: the image has shape {list(x.shape[1:])}, the model makes {list(model.spec.shape)}")
    if steps < 1 or restarts < 1 or not (lr > 0 and math.isfinite(lr)):
        raise InputError(f"invert: steps={steps}, restarts={restarts}, lr={lr}; all must be above 0")


def _found(
    model: Made, place: Space, x: Tensor, distance: Distance, layered: bool, steps: int, lr: float, restarts: int, seed: int
) -> Tensor:  # fmt: skip
    """The best code of each image [n, C, H, W]."""
    start = _starts(model, place, x, distance, restarts, seed)
    free = start.shape[1] - place.fixed
    choice = start[:, free:]
    if layered:
        assert place.style is not None
        if not place.style.layers:
            raise InputError("space=w+: this generator's synthesis does not say how many layers it has; use w")
        start = start.unsqueeze(1).expand(-1, place.style.layers, -1)

    def make(code: Tensor) -> Tensor:
        return place.make(torch.cat([code, choice], 1) if place.fixed else code)

    targets = x.repeat_interleave(restarts, 0)
    code = _descended(make, start[..., :free], targets, distance, steps, lr)
    with torch.no_grad():
        whole = torch.cat([code, choice], 1) if place.fixed else code
        best = distance(place.make(whole), targets).view(len(x), restarts).argmin(1)
    return whole[torch.arange(len(x), device=x.device) * restarts + best]


def _descended(make: Make, start: Tensor, targets: Tensor, distance: Distance, steps: int, lr: float) -> Tensor:
    """Adam with a rate that falls to zero by a cosine; each row goes its own way."""
    code = start.detach().clone().requires_grad_()
    opt = torch.optim.Adam([code], lr=lr)
    for step in range(steps):
        opt.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
        with torch.enable_grad():
            loss = distance(make(code), targets).sum()
        if not loss.requires_grad:
            raise InputError("invert: these samples are no smooth function of the latent (they are drawn in it)")
        (code.grad,) = torch.autograd.grad(loss, code)
        opt.step()
    return code.detach()


@torch.no_grad()
def _starts(model: Made, place: Space, x: Tensor, distance: Distance, restarts: int, seed: int) -> Tensor:
    """The `restarts` most similar of many draws for each image, [n * restarts, d]; what the game encodes is the first."""
    count = max(DRAWS, restarts)
    codes = place.codes_of(model.game.latent(count, seed=seed))
    gaps = []
    for part in torch.split(codes, CHUNK):
        made = place.make(part)
        gaps.append(torch.stack([distance(made, one.expand_as(made)) for one in x]))
    order = torch.cat(gaps, 1).topk(restarts, largest=False).indices
    starts = codes[order]  # [n, restarts, d]
    encode = getattr(model.game, "encode", None)
    if callable(encode):
        z = encode(x)
        if isinstance(z, Tensor) and z.shape == (len(x), model.game.z_dim):
            starts[:, 0] = place.codes_of(z)
    return starts.flatten(0, 1)


def _distance(seen: Features | None, weight: float) -> Distance:
    """Of rows, [N]: the mean square of pixels, and of features relative to the target's."""

    def distance(made: Tensor, target: Tensor) -> Tensor:
        pixels = (made.float() - target).square().flatten(1).mean(1)
        if seen is None:
            return pixels
        with torch.no_grad():
            wanted = _felt(seen, target)
        gap = (_felt(seen, made.float()) - wanted).square().mean(1) / wanted.square().mean(1).clamp(min=1e-12)
        return pixels + weight * gap

    return distance


def _felt(features: Features, x: Tensor) -> Tensor:
    """Features with a graph: `Features` itself answers without one."""
    inner = features.adapt(x) if features.after is None else _felt(features.after, x)
    out: Tensor = features.net(inner)
    return out
