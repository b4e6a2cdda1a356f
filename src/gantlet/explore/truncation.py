"""Truncation: fewer but more typical samples."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Game, Turn
from gantlet.core.when import Now
from gantlet.explore.style import style_of


def truncated_normal(z: Tensor, t: float, *, fixed: int = 0) -> Tensor:
    """z' = Phi^-1(Phi(-t) + Phi(z) (Phi(t) - Phi(-t))) of standard normals z [N, d]: normals that fell in -t..t
    (Brock et al. 2019, section 3.1), here as a monotone map, so that each sample keeps its place.

    The last `fixed` coordinates are choices and stay. Computed in float64 by the nearer tail, exact for any t > 0.
    """
    if not (t > 0 and math.isfinite(t)):
        raise InputError(f"truncation={t}: latents are kept within -t..t; t is a number above 0, such as 0.5")
    free = z[:, : z.shape[1] - fixed]
    u = free.cpu().double()
    low = torch.special.ndtr(torch.tensor(-t, dtype=torch.float64))
    tail = low + torch.special.ndtr(-u.abs()) * (1 - 2 * low)  # Phi(-|z'|): no cancellation far out
    cut = -u.sign() * torch.special.ndtri(tail)
    return torch.cat([cut.to(z), z[:, z.shape[1] - fixed :]], 1)


def truncated_style(w: Tensor, w_mean: Tensor, psi: float) -> Tensor:
    """w' = w_mean + psi (w - w_mean) (Karras et al. 2019, appendix B); w [N, w] or [N, layers, w].

    psi = 1 changes nothing to the bit, 0 is the mean sample, beyond is the opposite of a sample.
    """
    if not -2 <= psi <= 2:
        raise InputError(
            f"truncation={psi}: styles are drawn towards their mean by this factor; use 0 to 1 (at most ±2)"
        )
    return w if psi == 1 else w_mean + psi * (w - w_mean)


def fixed_latents(game: Game) -> int:
    """How many of a latent's last coordinates are choices (a class, a generator), which nothing should move."""
    return max(int(getattr(part, "fixed_latents", 0)) for part in game.made_of().values())


class Truncated(Game):
    """A game whose samples are truncated: by `truncated_style` where the generator has styles, else by `truncated_normal`.

    Everything else is the game's own. InputError where latents are not normals, or t is out of bounds.
    """

    game: Game
    truncation: float

    def __init__(self, game: Game, truncation: float) -> None:
        super().__init__()
        self.game = game.game if isinstance(game, Truncated) else game
        game = self.game
        self.truncation = float(truncation)
        self.z_dim, self.classes, self.labelled = game.z_dim, game.classes, game.labelled
        self.style = style_of(game)
        refuse_rough(game, f"truncation={self.truncation:g}")
        if self.style is None:
            refuse_not_normal(game)
            truncated_normal(torch.zeros(1, 1), self.truncation)
        else:
            truncated_style(torch.zeros(1, 1), torch.zeros(1), self.truncation)

    def generate(self, z: Tensor, *given: Tensor) -> Tensor:
        if self.style is not None:
            w = truncated_style(self.style.w_of(z, *given), self.style.w_mean, self.truncation)
            return self.style.made(w, z)
        return self.game.generate(truncated_normal(z, self.truncation, fixed=fixed_latents(self.game)), *given)

    def __getattr__(self, name: str) -> Any:
        """What the game can do besides (`classify`, `codes_of`, `encode`), as it does it: of samples, not of latents."""
        if name in ("classify", "codes_of", "encode"):
            return getattr(self.game, name)
        return super().__getattr__(name)

    def latent(self, n: int, *, seed: int, first: int = 0) -> Tensor:
        return self.game.latent(n, seed=seed, first=first)

    def classes_of(self, z: Tensor) -> Tensor | None:
        return self.game.classes_of(z)

    def made_of(self) -> dict[str, nn.Module]:
        return self.game.made_of()

    def owns(self) -> dict[str, list[nn.Module]]:
        return self.game.owns()

    def turns(self) -> list[Turn]:
        return self.game.turns()

    def stage(self, batch: Batch, now: Now) -> Any:
        return self.game.stage(batch, now)


def refuse_rough(game: Game, tool: str) -> None:
    """InputError for a game whose samples do not follow their latents."""
    if not game.smooth:
        raise InputError(
            f"{tool}: in {type(game).__name__.lower()} a latent only begins a chain of draws, and neighbouring ones make "
            "unrelated samples; moved latents mean nothing there"
        )


def refuse_not_normal(game: Game) -> None:
    """InputError for a game that draws its latents in a way of its own: the map is of standard normals."""
    if type(game).latent is not Game.latent:
        raise InputError(
            f"truncation: {type(game).__name__} draws its latents in its own way, and truncation is of standard normals; "
            "leave it out"
        )
