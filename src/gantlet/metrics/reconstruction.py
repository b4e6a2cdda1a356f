"""How well a model gives back what it never saw, through its own code."""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Game
from gantlet.metrics.about import about
from gantlet.metrics.interval import of_mean
from gantlet.metrics.path_length import _still
from gantlet.metrics.sources import Kept, Source, batches_of, once, rows_in, spec_of

PEAK = 2.0  # the range of -1..1


@registry.metric
@about(interval="own", floor=False, of_reals=True, reconstruction="lower", psnr="higher")
def reconstruction(
    real: Source,
    fake: Source,
    *,
    model: Game | None = None,  # a game with `encode` and `generate`
    held_out: Tensor | Kept | None = None,
    rows: Annotated[int, Field(ge=2)] = 2_000,  # of the held-out reals, at random; of a stream the first
    batch: Annotated[int, Field(ge=1)] = 64,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """Mean of |x - G(E(x))|^2 / d over held-out reals, and PSNR = 10 log10(2^2 / that), in dB (as in Dosovitskiy and
    Brox 2016; pixels in -1..1).

    Without held-out rows it is of the reals themselves, which is said: a model that has seen them may have learnt them.
    `mean_image` is the error of the reals' mean, what a model that ignores its code can reach. A model that cannot encode
    is refused; pictures are compared as they are made, clamped to -1..1.
    """
    encode, generate = getattr(model, "encode", None), getattr(model, "generate", None)
    if not (callable(encode) and callable(generate)):
        raise InputError(
            "a reconstruction is of a model that encodes (autoencoder, vae, aae, bigan), and this one cannot; invert its "
            "samples by optimisation instead, or take another metric"
        )
    side = _some(real if held_out is None else held_out, rows)
    image = len(spec_of(real if isinstance(real, Kept) else Kept(real)).shape) == 3
    errors: list[Tensor] = []
    middle, squares = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)  # of each place
    with _still(model):
        for piece in batches_of(side, batch=batch, device=_device(model)):
            x = piece.x[: rows - sum(len(e) for e in errors)]
            back = generate(encode(x)).float()
            back = back.clamp(-1, 1) if image else back
            errors.append((x - back).square().flatten(1).mean(1).double().cpu())
            n = sum(len(e) for e in errors)
            flat = x.flatten(1).double().cpu()
            off = flat - middle  # Welford's: squares of numbers about their mean, one pass, one image of memory
            middle = middle + off.sum(0) / n
            squares = squares + (off * (flat - middle)).sum(0)
            if n >= rows:
                break
    error = torch.cat(errors)
    if not math.isfinite(float(error.sum())):
        raise InputError("the model makes NaN or infinite values; a model that does gives nothing back")
    mean, n = float(error.mean()), len(error)
    low, high = of_mean(mean, float(error.std()) if n > 1 else 0.0, n)
    return {
        "reconstruction": mean,
        "psnr": psnr(mean),
        "mean_image": float(squares.mean()) / n,
        "rows": "held out" if held_out is not None else "the reals themselves",
        "real_count": n,
        "fake_count": 0,
        "intervals": {"reconstruction": [low, high], "psnr": [psnr(high), psnr(low)]},
        "warning": "" if held_out is not None else "no rows are held out: these were seen in training",
    }


def _some(side: Source, rows: int) -> Source:
    """So many of them, from anywhere: a folder is often in the order of its classes."""
    if once(side):
        return side
    kept = side if isinstance(side, Kept) else Kept(side)
    return kept.some(rows) if rows_in(kept) > rows else kept


def psnr(error: float) -> float:
    """10 log10(peak^2 / error) in dB; 100 where nothing is lost, which float32 cannot tell from less."""
    return min(100.0, 10 * math.log10(PEAK**2 / max(error, 1e-300)))


def _device(model: Any) -> torch.device | None:
    parameters = getattr(model, "parameters", None)
    return next(parameters()).device if callable(parameters) else None
