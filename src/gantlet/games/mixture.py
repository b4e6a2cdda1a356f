"""Several generators seen as one: a latent says which of them it is for."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Mixture(nn.Module):
    """K generators; the last coordinate c of a latent [N, z + 1] chooses number floor(K Phi(c)), the others are its z.

    Each is as likely as any other for a standard normal latent, and a sample depends on its own row alone.
    """

    fixed_latents = 1  # the last coordinates of a latent that are a choice: what moves latents leaves them

    def __init__(self, generators: Sequence[nn.Module]) -> None:
        super().__init__()
        self.generators = nn.ModuleList(generators)
        self.z_dim = int(generators[0].z_dim) + 1  # type: ignore[arg-type]

    def forward(self, z: Tensor, *given: Tensor) -> Tensor:
        """Every generator makes every row, so that choosing one waits for nobody."""
        count, rows = len(self.generators), torch.arange(len(z), device=z.device)
        chosen = (count * 0.5 * (1 + torch.erf(z[:, -1] / math.sqrt(2)))).long().clamp(0, count - 1)
        return torch.stack([g(z[:, :-1], *given) for g in self.generators])[chosen, rows]


class InTurn(nn.Module):
    """The same generators where row i is known to be of number (first + i) mod K: each makes its own rows."""

    fixed_latents = 1

    def __init__(self, mixture: Mixture, first: int) -> None:
        super().__init__()
        self.generators, self.first = mixture.generators, first

    def forward(self, z: Tensor, *given: Tensor) -> Tensor:
        count, rows = len(self.generators), torch.arange(len(z), device=z.device)
        parts = [(g, slice((k - self.first) % count, None, count)) for k, g in enumerate(self.generators)]
        parts = [(g, part) for g, part in parts if part.start < len(z)]
        made = torch.cat([g(z[part, :-1], *(x[part] for x in given)) for g, part in parts])
        return made[torch.cat([rows[part] for _, part in parts]).argsort()]
