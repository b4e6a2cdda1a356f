"""Style mixing: the coarse, middle or fine styles of one sample with the rest of another."""

from __future__ import annotations

import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.explore.space import Made, Space, latents, pictures_only
from gantlet.explore.style import needs_style

BANDS = ("coarse", "middle", "fine")


def band(name: str, layers: int) -> range:
    """Which layers a band is: thirds, the first ones coarse (the paper's 4, 4 and 10 of 18 are for 1024 x 1024)."""
    if name not in BANDS:
        raise InputError(f"band={name}: use {', '.join(BANDS)}")
    if layers < 3:
        raise InputError(f"mix: this generator's synthesis has {layers} layers with styles of their own, 3 are needed")
    i = BANDS.index(name)
    return range(round(i * layers / 3), round((i + 1) * layers / 3))


def mixed(a: Tensor, b: Tensor, layers: int, chosen: range) -> Tensor:
    """Styles [N, layers, w]: those of a [N, w] in the chosen layers, of b [N, w] in the others."""
    own = torch.zeros(layers, dtype=torch.bool, device=a.device)
    own[list(chosen)] = True
    return torch.where(own.view(1, -1, 1), a.unsqueeze(1), b.unsqueeze(1))


def mix(
    model: Made, *, which: str = "coarse", rows: int = 4, columns: int = 6, seed: int = 0,
    truncation: float | None = None, y: int | None = None,
) -> Tensor:  # fmt: skip
    """The grid of Karras et al. 2019, figure 3: float32 [rows + 1, columns + 1, C, H, W].

    The first row shows sources B, the first column sources A; between them is A's band `which` in B. The corner is white.
    """
    pictures_only(model, "mix")
    layers = needs_style(model.game, "mix").layers
    chosen = band(which, layers)
    place = Space(model.game, "w", y=y, truncation=truncation)
    with torch.no_grad():
        w = place.codes_of(latents(model.game, rows + columns, seed=seed))
    a, b = w[:rows], w[rows:]
    crossed = mixed(a.repeat_interleave(columns, 0), b.repeat(rows, 1), layers, chosen)
    inner = place.images(crossed)
    inner = inner.view(rows, columns, *inner.shape[1:])
    left, top = place.images(a), place.images(b)
    head = torch.cat([torch.ones_like(top[:1]), top])
    return torch.cat([head.unsqueeze(0), torch.cat([left.unsqueeze(1), inner], 1)])
