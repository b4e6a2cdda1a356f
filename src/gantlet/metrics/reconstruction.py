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
from gantlet.metrics.sources import Kept, Source, batches_of, spec_of

PEAK = 2.0  # the range of -1..1


@registry.metric
@about(interval="own", floor=False, reconstruction="lower", psnr="higher")
def reconstruction(
    real: Source,
    fake: Source,
    *,
    model: Game | None = None,  # a game with `encode` and `generate`
    held_out: Source | None = None,
    rows: Annotated[int, Field(ge=2)] = 2_000,  # of the held-out reals, the first
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
    side = real if held_out is None else held_out
    image = len(spec_of(real if isinstance(real, Kept) else Kept(real)).shape) == 3
    errors: list[Tensor] = []
    seen: list[Tensor] = []
    with _still(model):
        for piece in batches_of(side, batch=batch, device=_device(model)):
            x = piece.x[: rows - sum(len(e) for e in errors)]
            back = generate(encode(x)).float()
            back = back.clamp(-1, 1) if image else back
            errors.append((x - back).square().flatten(1).mean(1).double().cpu())
            seen.append(x.flatten(1).double().cpu())
            if sum(len(e) for e in errors) >= rows:
                break
    error, every = torch.cat(errors), torch.cat(seen)
    if not math.isfinite(float(error.sum())):
        raise InputError("the model makes NaN or infinite values; a model that does gives nothing back")
    mean, n = float(error.mean()), len(error)
    low, high = of_mean(mean, float(error.std()) if n > 1 else 0.0, n)
    return {
        "reconstruction": mean,
        "psnr": psnr(mean),
        "mean_image": float((every - every.mean(0)).square().mean()),
        "rows": "held out" if held_out is not None else "the reals themselves",
        "real_count": n,
        "fake_count": n,
        "intervals": {"reconstruction": [low, high], "psnr": [psnr(high), psnr(low)]},
        "warning": "" if held_out is not None else "no rows are held out: these were seen in training",
    }


def psnr(error: float) -> float:
    """10 log10(peak^2 / error) in dB; 100 where nothing is lost, which float32 cannot tell from less."""
    return min(100.0, 10 * math.log10(PEAK**2 / max(error, 1e-300)))


def _device(model: Any) -> torch.device | None:
    parameters = getattr(model, "parameters", None)
    return next(parameters()).device if callable(parameters) else None
