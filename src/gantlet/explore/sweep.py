"""The same samples under several truncations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.core.held import hold
from gantlet.explore.space import CHUNK, Made, pictures_only
from gantlet.explore.style import style_of
from gantlet.explore.truncation import Truncated


@torch.no_grad()
def sweep(model: Made, *, values: Sequence[float] | None = None, frames: int = 8, n: int = 6, seed: int = 0) -> Tensor:
    """The same n samples under each truncation, float32 [n, values, C, H, W]; the last samples are the least truncated.

    Without values: `frames` of them, 0 to 1 for styles, 0.2 to 2 for normal latents.
    """
    pictures_only(model, "truncation")
    if n < 1 or frames < 1:
        raise InputError(f"n={n}, frames={frames}: both must be at least 1")
    low, high = (0.0, 1.0) if style_of(model.game) is not None else (0.2, 2.0)
    asked = list(values) if values else [low + (high - low) * i / max(1, frames - 1) for i in range(frames)]
    cut = [Truncated(model.game, value) for value in asked]  # all are checked before any is drawn
    rows = []
    for first in range(0, n, CHUNK):
        z = model.game.latent(min(CHUNK, n - first), seed=seed, first=first)
        with hold(model.game):  # what changes along a row is the truncation alone
            rows.append(torch.stack([game.generate(z).float().cpu().clamp_(-1, 1) for game in cut], 1))
    return torch.cat(rows)
