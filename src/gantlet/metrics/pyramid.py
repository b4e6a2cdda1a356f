"""Sliced Wasserstein distance between small patches of images, at every scale of a Laplacian pyramid."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.noise import uniform
from gantlet.metrics.about import about
from gantlet.metrics.features import MOST
from gantlet.metrics.sliced import directions, project, transport
from gantlet.metrics.sources import Source, batches_of, count_of

_SMALLEST = 16  # pixels of the last level
_BLOCK = 2**28  # bytes of projections at a time
_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # Burt and Adelson 1983


@registry.metric
@about(interval="none", swd="lower")
def swd(
    real: Source,
    fake: Source,
    *,
    images: Annotated[int, Field(ge=1)] = 2048,  # of either side; 16384 in the paper, whose patches fill gigabytes
    patches: Annotated[int, Field(ge=1)] = 128,  # of an image at a level, as published
    side: Annotated[int, Field(ge=1)] = 7,  # pixels of a patch, as published
    ways: Annotated[int, Field(ge=1)] = 512,  # directions, as published
    seed: int = 0,  # of places and directions
    batch: Annotated[int, Field(ge=1)] = 256,  # images at a time; changes memory, not the result
) -> dict[str, Any]:
    """Sliced Wasserstein distance of image patches, 1000 W1 in the mean over random directions and over the levels of
    a Laplacian pyramid (Karras et al. 2018, section 5), 0 and up.

    From 16 pixels, doubling, up to the image's size; patches of a level are brought to mean 0 and deviation 1 in each
    channel, either side by itself. `levels` has each: the finest is about texture, the coarsest about layout. There is
    no interval: patches of one image hang together.
    """
    r, f = (_descriptors(s, images, patches, side, seed, batch) for s in (real, fake))
    if [(k, v.shape[1]) for k, v in r.items()] != [(k, v.shape[1]) for k, v in f.items()]:
        raise InputError(f"the images differ in size or channels (levels {list(r)} and {list(f)}); bring both to one")
    along = directions(next(iter(r.values())).shape[1], ways, seed=seed)
    levels = {level: 1000 * _apart(r[level], f[level], along) for level in r}
    counts = [len(next(iter(s.values()))) // patches for s in (r, f)]
    return {
        "swd": math.fsum(levels.values()) / len(levels),
        "levels": levels,
        "name": "SWD",
        "ways": ways,
        "real_count": counts[0],
        "fake_count": counts[1],
        "warning": "",
    }


def pyramid(x: Tensor) -> list[Tensor]:
    """Images [N, C, H, W] as what each level has that the next coarser has not, finest first; the last is a small image.

    Levels are halved while that leaves at least 16 pixels; all of them, blown up and added, are the images again.
    """
    levels = []
    while min(x.shape[2:]) >= 2 * _SMALLEST:
        small = halved(x)
        levels.append(x - doubled(small, x.shape[2], x.shape[3]))
        x = small
    return [*levels, x]


def halved(x: Tensor) -> Tensor:
    """Every other pixel after the binomial filter, mirrored at the border."""
    return _filtered(x)[:, :, ::2, ::2]


def doubled(x: Tensor, height: int, width: int) -> Tensor:
    """Zeros between the pixels, then four times the filter."""
    wide = x.new_zeros(*x.shape[:2], height, width)
    wide[:, :, ::2, ::2] = x
    return 4 * _filtered(wide)


def _filtered(x: Tensor) -> Tensor:
    line = x.new_tensor(_BINOMIAL)
    c = x.shape[1]
    x = F.pad(x, (2, 2, 2, 2), mode="reflect")
    x = F.conv2d(x, line.view(1, 1, 5, 1).expand(c, 1, 5, 1), groups=c)
    return F.conv2d(x, line.view(1, 1, 1, 5).expand(c, 1, 1, 5), groups=c)


def cut(x: Tensor, patches: int, side: int, *, first: int, seed: int, level: int) -> Tensor:
    """Patches [N * patches, C, side, side] of images [N, C, H, W] at random places; image i's depend on `first` + i."""
    n, c, h, w = x.shape
    at = uniform((patches, 2), n, key=(seed, "swd", level), first=first).to(x.device)
    top, left = ((at[:, :, i] * (size - side + 1)).long() for i, size in enumerate((h, w)))
    offsets = torch.arange(side, device=x.device)
    rows = (top.unsqueeze(2) + offsets).view(n, patches, 1, side, 1)
    columns = (left.unsqueeze(2) + offsets).view(n, patches, 1, 1, side)
    image = torch.arange(n, device=x.device).view(n, 1, 1, 1, 1)
    channel = torch.arange(c, device=x.device).view(1, 1, c, 1, 1)
    return x[image, channel, rows, columns].flatten(0, 1)


def _descriptors(source: Source, images: int, patches: int, side: int, seed: int, batch: int) -> dict[str, Tensor]:
    """Size of the level -> its patches, flattened [n, C side^2], each channel at mean 0 and deviation 1."""
    found: dict[str, list[Tensor]] = {}
    first = 0
    for x in _chosen(source, images, batch):
        if x.ndim != 4 or min(x.shape[2:]) < side:
            raise InputError(f"patches of {side} pixels are cut from images [N, C, H, W], not {list(x.shape)}")
        levels = pyramid(x)
        _fits(len(levels) * min(images, count_of(source) or images) * patches * x.shape[1] * side**2)
        for i, level in enumerate(levels):
            pieces = found.setdefault(str(level.shape[2]), [])
            pieces.append(cut(level, patches, side, first=first, seed=seed, level=i))
        first += len(x)
    return {level: _normal(pieces) for level, pieces in found.items()}


def _chosen(source: Source, images: int, batch: int) -> Iterator[Tensor]:
    """So many images, evenly spaced where it is known how many there are, else the first."""
    count, seen, taken = count_of(source) or images, 0, 0
    for rows in batches_of(source, batch=batch):
        places = torch.arange(seen, seen + len(rows.x))
        seen += len(rows.x)
        wanted = (places + 1) * images // count > places * images // count if count > images else places < images
        if bool(wanted.any()):
            taken += int(wanted.sum())
            yield rows.x[wanted.to(rows.x.device)]
        if taken >= images:
            return


def _fits(numbers: int) -> None:
    if 4 * numbers > MOST:
        raise InputError(
            f"the patches fill {4 * numbers / 2**30:.1f} GiB and {MOST >> 30} are allowed; take fewer images or patches"
        )


def _normal(pieces: list[Tensor]) -> Tensor:
    x = torch.cat(pieces)
    mean = x.mean((0, 2, 3), keepdim=True, dtype=torch.float64)
    square = sum(some.double().square().sum((0, 2, 3), keepdim=True) for some in torch.split(x, 2**15))
    deviation = (square / (x.numel() / x.shape[1]) - mean.square()).clamp(min=0).sqrt()
    return x.sub_(mean.float()).div_(deviation.float().clamp(min=1e-8)).flatten(1)


def _apart(a: Tensor, b: Tensor, ways: Tensor) -> float:
    """The mean of W1 over directions, so many at a time as fit."""
    step = max(1, _BLOCK // (4 * max(len(a), len(b))))
    return float(torch.cat([transport(project(a, w), project(b, w), power=1) for w in torch.split(ways, step)]).mean())
