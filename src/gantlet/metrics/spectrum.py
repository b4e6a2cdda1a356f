"""What the samples hold at each frequency: too smooth, too noisy, or a lattice that upsampling left."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.metrics.about import about
from gantlet.metrics.sources import Source, batches_of, sum_up

FLOOR = (2 / 255) ** 2 / 12  # power at every frequency that rounding to 8 bits leaves: less is not looked at
_CHUNK = 2**22  # numbers transformed at once
_FEW = 100

Rows = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Powers:
    """Sums over images of one size: power in the half plane of `rfft2`, and each ring's power in dB."""

    size: tuple[int, int]
    count: int
    power: Tensor  # float64 [H, W // 2 + 1]
    level: Tensor  # float64 [rings]

    @staticmethod
    def merged(parts: list[Powers]) -> Powers:
        """All of them in one."""
        power, level = (torch.stack([getattr(p, of) for p in parts]).sum(0) for of in ("power", "level"))
        return Powers(parts[0].size, sum(p.count for p in parts), power, level)


def powers_of(source: Source, *, batch: int = 256) -> Powers:
    """The power spectra of a source, read in one pass. InputError for what are no images of at least 4 x 4."""

    def make(source: Source) -> Powers:
        parts: list[Powers] = []
        for rows in batches_of(source, batch=batch):
            if rows.x.ndim != 4 or min(rows.x.shape[-2:]) < 4:
                raise InputError(
                    f"a spectrum is of images [N, C, H, W] of at least 4 x 4, the samples are {list(rows.x.shape[1:])}"
                )
            for x in torch.split(rows.x, max(1, _CHUNK // rows.x[0].numel())):
                parts = [Powers.merged([*parts, _powers(x)])]
        return parts[0]

    return sum_up(source, ("spectrum",), make, Powers.merged)


def _powers(x: Tensor) -> Powers:
    h, w = x.shape[-2:]
    each = power(x)
    ring, weight = rings(h, w)
    sums = torch.zeros(len(x), int(ring.max()) + 1, dtype=torch.float64).index_add_(1, ring, (each * weight).flatten(1))
    level = 10 * torch.log10(sums / _sizes(ring, weight) + FLOOR)
    return Powers((h, w), len(x), each.sum(0), level[:, 1:].sum(0))


def power(x: Tensor) -> Tensor:
    """|F|^2 / HW, mean over channels: images [n, C, H, W] (clamped to -1..1) -> float64 [n, H, W // 2 + 1]."""
    h, w = x.shape[-2:]
    waves: Tensor = torch.fft.rfft2(x.detach().float().clamp(-1, 1))
    return waves.abs().square().mean(1).cpu().double().div_(h * w)


def rings(h: int, w: int) -> tuple[Tensor, Tensor]:
    """Ring of each frequency in `rfft2`'s order [H (W // 2 + 1)], and how many of the full plane it stands for.

    Ring k is at k / min(H, W) cycles per pixel, to half a ring each way; the corners are in. Only the mean is ring 0.
    """
    fy, fx = torch.fft.fftfreq(h, dtype=torch.float64), torch.fft.rfftfreq(w, dtype=torch.float64)
    ring = (
        (torch.hypot(fy[:, None], fx[None, :]) * min(h, w) + 0.5 + 1e-9).long().clamp(min=1)
    )  # halves go up everywhere
    ring[0, 0] = 0
    weight = torch.full((w // 2 + 1,), 2.0, dtype=torch.float64)
    weight[0] = 1
    if w % 2 == 0:
        weight[-1] = 1
    return ring.flatten(), weight.expand(h, -1)


def _sizes(ring: Tensor, weight: Tensor) -> Tensor:
    """How many frequencies each ring has."""
    return torch.zeros(int(ring.max()) + 1, dtype=torch.float64).index_add_(0, ring, weight.flatten())


def _both(real: Source, fake: Source, batch: int) -> tuple[Powers, Powers]:
    r, f = (powers_of(side, batch=batch) for side in (real, fake))
    if r.size != f.size:
        raise InputError(
            f"spectra of images of {r.size[0]} x {r.size[1]} and {f.size[0]} x {f.size[1]} do not compare; bring both "
            "to one size"
        )
    return r, f


def _few(r: Powers, f: Powers) -> str:
    least = min(r.count, f.count)
    return f"{least} images: their number shows in the score; take at least {_FEW}" if least < _FEW else ""


@registry.metric
@about(spectrum="lower", high_frequency_excess="neither")
def spectrum(
    real: Source,
    fake: Source,
    *,
    high: Annotated[float, Field(gt=0, lt=1)] = 0.75,  # of the highest frequency along an axis: high from there on
    batch: Rows = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """Root mean square over rings of the difference of mean 10 log10(mean over a ring of |FFT|^2 / HW), in dB (Durall
    et al. 2020; Dzanic et al. 2020).

    Ring k is k / min(H, W) cycles per pixel, corners included; power is the mean over channels, and under what rounding
    to 8 bits leaves it is not seen. `high_frequency_excess` is the mean difference (fakes - reals) from `high` of the
    Nyquist frequency on: negative is smooth, positive is noise.
    """
    r, f = _both(real, fake, batch)
    theirs, ours = r.level / r.count, f.level / f.count
    apart = ours - theirs
    frequency = (torch.arange(len(apart), dtype=torch.float64) + 1) / min(r.size)
    return {
        "spectrum": math.sqrt(float(apart.square().mean())),
        "high_frequency_excess": float(apart[frequency >= high / 2].mean()),
        "names": {"spectrum": "Spectrum, dB", "high_frequency_excess": "High-frequency excess, dB"},
        "frequency": frequency.tolist(),
        "real_curve": theirs.tolist(),
        "curve": ours.tolist(),
        "real_count": r.count,
        "fake_count": f.count,
        "warning": _few(r, f),
    }


def lattice(h: int, w: int, period: int) -> list[tuple[int, int]]:
    """(row, column) of the multiples of 1 / period cycles per pixel in `rfft2`'s half plane, without the mean."""
    rows, columns = ([i * n // period for i in range(period) if i * n % period == 0] for n in (h, w))
    return [(u, v) for u in rows for v in columns if (u, v) != (0, 0) and v <= w // 2 and (0 < v < w - v or u <= h - u)]


def standing_out(powers: Tensor, w: int, places: list[tuple[int, int]]) -> Tensor:
    """dB by which each place exceeds the mean dB of its neighbours along the axes on which it is not 0; [places]."""
    level = 10 * torch.log10(powers + FLOOR)
    h = len(level)

    def at(u: int, v: int) -> Tensor:
        u, v = u % h, v % w
        return level[u, v] if v <= w // 2 else level[-u % h, w - v]

    found = []
    for u, v in places:
        beside = [at(u + i, v) for i in (-1, 1) if u] + [at(u, v + i) for i in (-1, 1) if v]
        found.append(at(u, v) - torch.stack(beside).mean())
    return torch.stack(found)


@registry.metric
@about(checkerboard="lower")
def checkerboard(
    real: Source,
    fake: Source,
    *,
    period: Annotated[int, Field(ge=2, le=16)] = 4,  # pixels: what the last two of the stride-2 upsamplings leave
    batch: Rows = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """Mean over frequencies (i, j) / period, not both 0, of |10 log10 P - its mean over the next frequencies|, in dB
    (what upsampling leaves: Odena et al. 2016, Zhang et al. 2019).

    P is the mean power |FFT|^2 / HW of the images and their channels; the next frequencies are those 1 / H and 1 / W
    away along each axis on which the place is not 0 (the axes hold edges). Peaks and gaps count alike: transposed
    convolutions leave peaks, repeated pixels gaps. `real_checkerboard` is the reals' own, near 0 for photos.
    """
    r, f = _both(real, fake, batch)
    h, w = r.size
    places = lattice(h, w, period)
    if min(h, w) < 2 * period or not places:
        raise InputError(
            f"a lattice of period {period} has no frequencies with neighbours in images of {h} x {w}; take a period "
            "that is at most half a side, and divides one"
        )
    theirs, ours = (standing_out(p.power / p.count, w, places) for p in (r, f))
    names = [f"{u / h:g} {v / w:g}" for u, v in places]
    return {
        "checkerboard": float(ours.abs().mean()),
        "real_checkerboard": float(theirs.abs().mean()),
        "name": "Checkerboard, dB",
        "lattice": dict(zip(names, ours.tolist(), strict=True)),
        "real_lattice": dict(zip(names, theirs.tolist(), strict=True)),
        "real_count": r.count,
        "fake_count": f.count,
        "warning": _few(r, f),
    }
