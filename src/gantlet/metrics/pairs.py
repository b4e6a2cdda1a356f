"""How like its own original each image is: row i of the fakes beside row i of the reals (restored, translated, coded).

Images are clamped to -1..1, what saving them does; a score is the mean over the pairs of each pair's own score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.metrics.about import about
from gantlet.metrics.interval import of_mean
from gantlet.metrics.sources import Source, batches_of, count_of

MOST = 100.0  # dB: what identical images count as; one number of a 32 x 32 photo one level off is 83 dB
K1, K2, RANGE = 0.01, 0.03, 2.0  # Wang et al. 2004, section III-C; -1..1 is 2 wide
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, from fine to coarse
_Y = (65.481, 128.553, 24.966)  # BT.601 luma of R, G, B in 0..1, in 16..235 of 255
_CHUNK = 2**20  # numbers looked at at once
_RULE = "row i of the fakes is compared with row i of the reals"

Channels = Literal["each", "luma"]
Window = Literal["gaussian", "uniform"]
Shave = Annotated[int, Field(ge=0)]
Rows = Annotated[int, Field(ge=1)]


def pairs_of(real: Source, fake: Source, *, batch: int = 256) -> Iterator[tuple[Tensor, Tensor]]:
    """(reals, fakes) [n, C, H, W] row beside row, however either side comes in pieces.

    InputError where the counts or the sizes differ, or the samples are no images.
    """
    counts = [count_of(side) for side in (real, fake)]
    if None not in counts and counts[0] != counts[1]:
        raise InputError(f"{_RULE}, and there are {counts[0]} reals and {counts[1]} fakes; give equally many")
    streams = [batches_of(side, batch=batch) for side in (real, fake)]
    left: list[Tensor | None] = [None, None]
    seen = 0
    while True:
        for i, stream in enumerate(streams):
            rows = next(stream, None) if left[i] is None else None
            left[i] = left[i] if rows is None else rows.x
        r, f = left
        if r is None or f is None:
            break
        if r.ndim != 4 or r.shape[1:] != f.shape[1:]:
            raise InputError(
                f"{_RULE}: both are images [N, C, H, W] of one size, the reals are {list(r.shape[1:])} and the "
                f"fakes {list(f.shape[1:])}"
            )
        n = min(len(r), len(f))
        yield r[:n], f[:n]
        seen += n
        left = [side[n:] if len(side) > n else None for side in (r, f)]
    if not (r is None and f is None):
        more, less = ("reals", "fakes") if f is None else ("fakes", "reals")
        raise InputError(f"{_RULE}: there are {seen} {less} and more {more}; give equally many")


def looked_at(x: Tensor, channels: Channels, shave: int) -> Tensor:
    """The numbers that are compared: float64 in -1..1, of each channel or of the luma, without the border."""
    x = x.detach().cpu().double().clamp(-1, 1)
    if min(x.shape[-2:]) <= 2 * shave:
        raise InputError(f"shave={shave} leaves nothing of images of {x.shape[-2]} x {x.shape[-1]}; take less")
    x = x[..., shave : x.shape[-2] - shave, shave : x.shape[-1] - shave]
    if channels == "each" or x.shape[1] == 1:
        return x
    if x.shape[1] != 3:
        raise InputError(f"there is no luma of {x.shape[1]} channels; take channels=each")
    unit = ((x + 1) / 2 * x.new_tensor(_Y).view(1, 3, 1, 1)).sum(1, keepdim=True) + 16
    return unit / 127.5 - 1


def _scores(
    real: Source, fake: Source, score: Callable[[Tensor, Tensor], Tensor], channels: Channels, shave: int, batch: int
) -> Tensor:
    """The score of each pair, float64 [N], in bounded memory."""
    found = []
    for pair in pairs_of(real, fake, batch=batch):
        rows = max(1, _CHUNK // pair[0][0].numel())
        for r, f in zip(*(torch.split(side, rows) for side in pair), strict=True):
            found.append(score(looked_at(r, channels, shave), looked_at(f, channels, shave)))
    return torch.cat(found)


def _answer(key: str, name: str, values: Tensor, channels: Channels, warning: str = "") -> dict[str, Any]:
    n, mean = len(values), float(values.mean())
    deviation = float(values.std()) if n > 1 else 0.0
    if n == 1:
        warning = f"{warning + '; ' if warning else ''}one pair has no interval; take more"
    return {
        key: mean,
        "name": f"{name}-Y" if channels == "luma" else name,
        "deviation": deviation,
        "lowest": float(values.min()),
        "real_count": n,
        "fake_count": n,
        "intervals": {key: list(of_mean(mean, deviation, n))} if n > 1 else {},
        "warning": warning,
    }


def peak_ratio(x: Tensor, y: Tensor) -> Tensor:
    """10 log10(4 / mean square difference) in dB of images in -1..1 [N, ...] -> [N]; at most 100."""
    square = (x - y).square().flatten(1).mean(1)
    return (10 * torch.log10(RANGE**2 / square.clamp(min=1e-300))).clamp(max=MOST)


@registry.metric
@about(interval="own", floor=False, paired=True, psnr="higher")
def psnr(
    real: Source,
    fake: Source,
    *,
    channels: Channels = "each",  # luma: super-resolution's, BT.601 in 16..235
    shave: Shave = 0,  # pixels of border left out; super-resolution leaves out as many as it enlarges
    batch: Rows = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """Peak signal-to-noise ratio 10 log10(range^2 / mean square difference) in dB, mean over pairs, at most 100.

    Identical pairs have no finite ratio: they count as 100 dB, `identical` says how many, and so does the warning.
    """
    same = 0

    def score(x: Tensor, y: Tensor) -> Tensor:
        nonlocal same
        same += int((x == y).flatten(1).all(1).sum())
        return peak_ratio(x, y)

    values = _scores(real, fake, score, channels, shave, batch)
    warning = f"{same} of {len(values)} pairs are identical and count as {MOST:.0f} dB" if same else ""
    return _answer("psnr", "PSNR", values, channels, warning) | {"identical": same}


def gaussian(side: int = 11, sigma: float = 1.5) -> list[float]:
    """The taps of a Gaussian that sum to 1."""
    taps = [math.exp(-((i - (side - 1) / 2) ** 2) / (2 * sigma**2)) for i in range(side)]
    return [t / math.fsum(taps) for t in taps]


def _taps(window: Window, side: int | None) -> list[float]:
    if window == "gaussian":
        return gaussian(11 if side is None else side)
    side = 7 if side is None else side
    return [1 / side] * side


def _filtered(x: Tensor, taps: list[float]) -> Tensor:
    """[..., H, W] -> [..., H - k + 1, W - k + 1], both ways with the same taps."""
    for dim in (-1, -2):
        n = x.shape[dim] - len(taps) + 1
        y = x.narrow(dim, 0, n) * taps[0]
        for k in range(1, len(taps)):
            y.add_(x.narrow(dim, k, n), alpha=taps[k])
        x = y
    return x


def structure(x: Tensor, y: Tensor, taps: list[float]) -> tuple[Tensor, Tensor]:
    """Maps of luminance and of contrast times structure of images in -1..1 [N, C, H, W], where the window fits.

    SSIM is of numbers from 0 on, so these are taken as 0..2. With s = x + y and d = x - y,
    2 mx my = (ms^2 - md^2) / 2 and 2 cov(x, y) = (var s - var d) / 2, and sums likewise: four windows, not five.
    """
    if min(x.shape[-2:]) < len(taps):
        raise InputError(
            f"SSIM with a window of {len(taps)} needs images of at least {len(taps)} x {len(taps)}, these are "
            f"{x.shape[-2]} x {x.shape[-1]}; take window=uniform with a smaller side"
        )
    both, apart = x + y + 2, x - y
    light = [_filtered(v, taps).square_() for v in (both, apart)]
    spread = [_filtered(v.square(), taps).sub_(m) for v, m in zip((both, apart), light, strict=True)]
    maps = []
    for (plus, minus), k in ((light, K1), (spread, K2)):
        c = 2 * (k * RANGE) ** 2
        maps.append((plus - minus + c) / (plus + minus + c))
    return maps[0], maps[1]


@registry.metric
@about(interval="own", floor=False, paired=True, ssim="higher")
def ssim(
    real: Source,
    fake: Source,
    *,
    window: Window = "gaussian",  # the paper's; uniform: its predecessors', and scikit-image's
    side: Annotated[int, Field(ge=2)] | None = None,  # of the window; None: 11, uniform 7 (the predecessors took 8)
    channels: Channels = "each",  # luma: super-resolution's
    shave: Shave = 0,  # pixels of border left out
    batch: Rows = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """Structural similarity (2 mx my + c1)(2 cov + c2) / ((mx^2 + my^2 + c1)(vx + vy + c2)) (Wang et al. 2004, eq. 13).

    Of each channel in each place where the window fits (11 x 11 Gaussian of sigma 1.5, or uniform), their mean;
    K1 = 0.01, K2 = 0.03, variances over the window's weights (scikit-image divides by n - 1 unless told otherwise).
    """
    taps = _taps(window, side)

    def score(x: Tensor, y: Tensor) -> Tensor:
        light, rest = structure(x, y, taps)
        return (light * rest).flatten(1).mean(1)

    plain = window == "gaussian" and len(taps) == 11
    name = "SSIM" if plain else f"SSIM-{window}-{len(taps)}"
    return _answer("ssim", name, _scores(real, fake, score, channels, shave, batch), channels)


def multiscale(x: Tensor, y: Tensor) -> Tensor:
    """MS-SSIM of images in -1..1 [N, C, H, W] -> [N]: of each channel alone, then their mean."""
    taps = gaussian()
    least = len(taps) << (len(WEIGHTS) - 1)
    if min(x.shape[-2:]) < least:
        raise InputError(
            f"MS-SSIM looks at {len(WEIGHTS)} scales and needs images of at least {least} x {least}, these are "
            f"{x.shape[-2]} x {x.shape[-1]}; take ssim"
        )
    found = torch.ones(x.shape[:2], dtype=x.dtype)
    for scale, weight in enumerate(WEIGHTS):
        light, rest = structure(x, y, taps)
        value = light * rest if scale == len(WEIGHTS) - 1 else rest
        found *= value.mean((2, 3)).clamp(min=0) ** weight  # no real power of a negative number: opposite is unlike
        x, y = (F.avg_pool2d(side, 2) for side in (x, y))
    return found.mean(1)


@registry.metric
@about(interval="own", floor=False, paired=True, ms_ssim="higher")
def ms_ssim(
    real: Source,
    fake: Source,
    *,
    channels: Channels = "each",  # luma: super-resolution's
    shave: Shave = 0,  # pixels of border left out
    batch: Rows = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """Product over five scales of (mean contrast-structure)^weight, luminance at the last (Wang et al. 2003, eq. 7).

    Weights 0.0448, 0.2856, 0.3001, 0.2363, 0.1333, halved by 2 x 2 means in between, 11 x 11 Gaussian window: images of
    176 x 176 and up. A negative mean counts as 0.
    """
    return _answer("ms_ssim", "MS-SSIM", _scores(real, fake, multiscale, channels, shave, batch), channels)
