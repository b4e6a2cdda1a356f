"""Do pictures move and turn with what they are made of, or do details stick to the pixels?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Game
from gantlet.core.noise import uniform
from gantlet.metrics.about import about
from gantlet.metrics.interval import of_mean
from gantlet.metrics.path_length import _still
from gantlet.metrics.sources import Source

RANGE = 2.0  # from the darkest to the brightest, -1..1
_CUTOFF, _BETA = 0.4, 4.0  # cycles per pixel, and the Kaiser window's shape: the stop band begins at one half
_LEAST = 1e-15  # of a mean square: under it is rounding

Seen = tuple[Tensor, Tensor]  # pictures [N, C, H, W], and which pixels follow from pixels that exist, [N, 1, H, W]


def translated(x: Tensor, by: Tensor, *, lobes: int = 3) -> Seen:
    """Pictures [N, C, H, W] moved by [N, 2] pixels (right, down), through a Lanczos window of so many lobes.

    At whole numbers, where `lobes: 1` loses no border, it is a copy.
    """
    rows, down = _lanczos(by[:, 1], x.shape[2], lobes)
    cols, right = _lanczos(by[:, 0], x.shape[3], lobes)
    moved = rows.to(x).unsqueeze(1) @ x @ cols.to(x).unsqueeze(1).transpose(2, 3)
    return moved, down[:, None, :, None] & right[:, None, None, :]


def _lanczos(by: Tensor, n: int, lobes: int) -> tuple[Tensor, Tensor]:
    """Weights float64 [N, n, n] of every old sample in every new one, and which new ones have all they need [N, n]."""
    every = torch.arange(n, dtype=torch.float64, device=by.device)
    place = every - by.double().unsqueeze(1)
    gap = place.unsqueeze(2) - every
    weights = torch.sinc(gap) * torch.sinc(gap / lobes) * (gap.abs() < lobes)
    there = ((place - lobes).floor() + 1 >= 0) & ((place + lobes).ceil() - 1 <= n - 1)
    return weights / weights.sum(2, keepdim=True).clamp(min=0.5), there  # less only where some are beyond the border


def turned(x: Tensor, angle: Tensor, *, reach: int = 4) -> Seen:
    """Pictures [N, C, H, W] seen at places turned about the middle by [N] radians, through a filter `reach` pixels wide.

    The filter, a jinc under a Kaiser window, is the same in all directions: of a turned picture and of one that was made
    turned it leaves the same, up to 0.8 of the highest frequency. A square of pixels has more to say along its
    diagonals, which no turned square could show.
    """
    n, c, h, w = x.shape
    middle = torch.tensor([(w - 1) / 2, (h - 1) / 2], dtype=torch.float64, device=x.device)
    down, right = torch.meshgrid(
        *(torch.arange(k, dtype=torch.float64, device=x.device) for k in (h, w)), indexing="ij"
    )
    grid = torch.stack([right.flatten(), down.flatten()], 1) - middle
    place = grid @ rotation(angle.double()).transpose(1, 2) + middle  # [N, H W, 2]
    last = 2 * middle
    there = ((place - reach >= -1e-9) & (place + reach <= last + 1e-9)).all(2)
    first, flat = place.floor(), x.flatten(2)
    seen, total = torch.zeros_like(flat), torch.zeros_like(place[:, :, 0])
    for k in range((2 * reach) ** 2):
        step = torch.tensor([k % (2 * reach), k // (2 * reach)], device=x.device) - (reach - 1)
        at = first + step
        weight = _filter((at - place).norm(dim=2), reach)
        at = torch.minimum(at.clamp(min=0), last).long()
        index = (at[:, :, 1] * w + at[:, :, 0]).unsqueeze(1).expand(-1, c, -1)
        seen = seen + weight.to(x).unsqueeze(1) * flat.gather(2, index)
        total = total + weight
    return (seen / total.to(x).unsqueeze(1)).view(n, c, h, w), there.view(n, 1, h, w)


def rotation(angle: Tensor) -> Tensor:
    """[N] radians -> [N, 2, 2]."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)


def _filter(r: Tensor, reach: int) -> Tensor:
    """The jinc at distance r under a Kaiser window that falls to nothing at `reach`."""
    r = r.clamp(min=1e-9)
    window = torch.special.i0(_BETA * (1 - (r / reach).square()).clamp(min=0).sqrt()) - 1
    weight: Tensor = torch.special.bessel_j1(2 * math.pi * _CUTOFF * r) / r * window
    return weight


class Errors(NamedTuple):
    """Of each picture: the sum of squares of what differs, and over how many numbers, float64 [N]."""

    squares: Tensor
    counts: Tensor

    @classmethod
    def between(cls, made: Tensor, wanted: Tensor, valid: Tensor) -> Errors:
        gap = torch.where(valid, (made.double() - wanted.double()).square(), 0)
        return cls(gap.sum((1, 2, 3)).cpu(), valid.double().sum((1, 2, 3)).cpu() * made.shape[1])


def decibel(errors: list[Errors]) -> tuple[float, tuple[float, float]] | None:
    """10 log10(2^2 / mean square) and its interval; None where no picture has a pixel to compare.

    The mean is a ratio of sums; its deviation is that of the residuals (Cochran 1977, section 6.3).
    """
    squares, counts = (torch.cat(side) for side in zip(*errors, strict=True))
    if float(counts.sum()) == 0:
        return None
    mean = max(float(squares.sum() / counts.sum()), _LEAST)
    value, n = 10 * math.log10(RANGE**2 / mean), len(squares)
    deviation = float((squares - mean * counts).std() / counts.mean()) if n > 1 else 0.0
    return value, of_mean(value, 10 / math.log(10) * deviation / mean, n)


class _How(NamedTuple):
    """Which moves, of which rows."""

    seed: int
    first: int
    far: float
    reach: int | None


def mover_of(model: Any) -> nn.Module:
    """The module whose buffer `transform` moves what is made; InputError where there is none."""
    if not callable(getattr(model, "generate", None)):
        raise InputError("equivariance is of a generator and there is none; evaluate a run or a model, not a folder")
    for module in model.modules():
        synthesis = getattr(module, "synthesis", None)
        if isinstance(synthesis, nn.Module) and isinstance(getattr(synthesis, "transform", None), Tensor):
            return synthesis
    raise InputError(
        "equivariance needs a generator whose input can be moved (a buffer `synthesis.transform` [3, 3]), and this has "
        "none; use style3, or leave the metric out"
    )


@contextmanager
def _moved(synthesis: nn.Module, transform: Tensor) -> Iterator[None]:
    """The generator with another transform, the old one put back afterwards."""
    before = synthesis.get_buffer("transform")
    try:
        synthesis.transform = transform.to(before)
        yield
    finally:
        synthesis.transform = before


def _matrix(linear: Tensor, offset: Tensor) -> Tensor:
    """[N, 2, 2] and [N, 2] -> [N, 3, 3]."""
    last = torch.tensor([0.0, 0.0, 1.0], dtype=linear.dtype, device=linear.device).expand(len(linear), 1, 3)
    return torch.cat([torch.cat([linear, offset.unsqueeze(2)], 2), last], 1)


@registry.metric
@about(interval="own", floor=False, eq_t="higher", eq_t_frac="higher", eq_r="higher")
def equivariance(
    real: Source,
    fake: Source,
    *,
    model: Game | None = None,  # what made the fakes: a game with `latent` and `generate`
    pictures: Annotated[int, Field(ge=2)] = 500,  # the paper takes 50,000: the interval says whether these are enough
    far: Annotated[float, Field(gt=0, le=0.5)] = 0.125,  # of the side: how far pictures are moved at most
    reach: Annotated[int, Field(ge=1, le=16)]
    | None = None,  # pixels, of `turned`; null: a quarter of the side, at most 4
    batch: Annotated[int, Field(ge=1)] = 64,  # rows at a time; changes memory, not the result
    seed: int = 0,
) -> dict[str, Any]:
    """EQ-T, EQ-T_frac, EQ-R in dB: 10 log10(2^2 / E (g(t[z0]) - t[g(z0)])^2) over pixels that both have (Karras et al.
    2021, section 2.2), t a move by whole pixels, by any distance, a turn by any angle.

    Distances are uniform in +- `far` sides, angles all round. As in the paper a move by a fraction is done to the picture
    by a Lanczos window of three lobes; unlike it, turned pictures are both seen through one circular filter, see
    `turned`, whose own error begins to show at about 50 dB. A score is None where pictures are too small to be seen.
    """
    synthesis = mover_of(model)
    assert model is not None, "refused above"
    found: dict[str, list[Errors]] = {"eq_t": [], "eq_t_frac": [], "eq_r": []}
    with _still(model):
        for first in range(0, pictures, batch):
            n = min(batch, pictures - first)
            z = model.latent(n, seed=seed, first=first)
            for key, errors in _one_batch(model, synthesis, z, _How(seed, first, far, reach)).items():
                found[key].append(errors)
    if not all(math.isfinite(float(e.squares.sum())) for errors in found.values() for e in errors):
        raise InputError("the generator makes NaN or infinite values; a model that does cannot be compared with itself")
    said = {key: decibel(errors) for key, errors in found.items()}
    small = [key for key, one in said.items() if one is None]
    return {
        **{key: None if one is None else one[0] for key, one in said.items()},
        "names": {"eq_t": "EQ-T", "eq_t_frac": "EQ-T_frac", "eq_r": "EQ-R"},
        "pictures": pictures,
        "real_count": 0,
        "fake_count": pictures,
        "intervals": {key: list(one[1]) for key, one in said.items() if one is not None},
        "warning": f"pictures too small for {', '.join(small)}: no pixel is a filter away from the border"
        * bool(small),
    }


def _one_batch(model: Game, synthesis: nn.Module, z: Tensor, how: _How) -> dict[str, Errors]:
    """What differs for every way of moving, of the pictures of these latents."""
    still = model.generate(z)
    n, _, h, w = still.shape
    u = uniform((3,), n, key=(how.seed, "equivariance"), first=how.first, device=z.device).double()
    by = (2 * u[:, :2] - 1) * how.far * torch.tensor([w, h], dtype=torch.float64, device=z.device)
    found = {}
    for key, move, lobes in (("eq_t", by.round(), 1), ("eq_t_frac", by, 3)):
        eye = torch.eye(2, dtype=torch.float64, device=z.device).expand(n, 2, 2)
        with _moved(synthesis, _matrix(eye, -move)):
            made = model.generate(z)
        found[key] = Errors.between(made, *translated(still, move, lobes=lobes))
    angle, reach = 2 * math.pi * u[:, 2], how.reach or max(1, min(4, min(h, w) // 4))
    with _moved(synthesis, _matrix(rotation(angle), torch.zeros_like(by))):
        made, whole = turned(model.generate(z), torch.zeros_like(angle), reach=reach)
    wanted, there = turned(still, angle, reach=reach)
    found["eq_r"] = Errors.between(made, wanted, there & whole)
    return found
