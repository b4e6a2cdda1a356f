"""Where the tools move: in z as latents are drawn, or in w behind a style generator's mapping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.core.game import Game, Spec
from gantlet.core.held import hold
from gantlet.explore.truncation import (
    Truncated,
    fixed_latents,
    refuse_not_normal,
    refuse_rough,
    truncated_normal,
    truncated_style,
)
from gantlet.nets.styles import needs_style, style_of

Where = Literal["z", "w"]
CHUNK = 64  # images made at a time


class Made(Protocol):
    """What the tools take: a model that was loaded, or anything with a game in evaluation mode and the data's spec."""

    @property
    def game(self) -> Game: ...

    @property
    def spec(self) -> Spec: ...


class Space:
    """Codes of a game's samples: latents [N, z_dim] or styles [N, w]; the first `free` coordinates may be moved.

    `y` asks for a class; without one, latents choose. A generator's own noise is fixed, so that what moves in a picture is
    the code alone; `truncation` is by style where there is one, else of the latents.
    """

    def __init__(self, game: Game, name: str = "z", *, y: int | None = None, truncation: float | None = None) -> None:
        if name not in ("z", "w"):
            raise InputError(f"space={name}: use z (latents) or w (styles)")
        if isinstance(game, Truncated):  # its styles would be made past it
            truncation = game.truncation if truncation is None else truncation
            game = game.game
        refuse_rough(game, "moving latents")
        self.game, self.name, self.truncation = game, name, truncation
        self.style = needs_style(game, "space=w") if name == "w" else style_of(game)
        if truncation is not None and self.style is None:
            refuse_not_normal(game)
        if y is not None and not 0 <= y < game.classes:
            raise InputError(f"class {y}: this model can be asked for {game.classes or 'no'} classes")
        self.y = y
        self.fixed = 0 if name == "w" else fixed_latents(game)

    def codes_of(self, z: Tensor) -> Tensor:
        """The codes of latents [N, z_dim]."""
        if self.style is None:
            return z if self.truncation is None else truncated_normal(z, self.truncation, fixed=self.fixed)
        return self._styles(z) if self.name == "w" else z

    def make(self, codes: Tensor) -> Tensor:
        """Codes -> samples, differentiable; styles may also be [N, layers, w]."""
        if self.style is None:
            with hold(self.game):
                return self.game.generate(codes, *self._given(len(codes), codes.device))
        return self.style.made(codes if self.name == "w" else self._styles(codes))

    @torch.no_grad()
    def images(self, codes: Tensor) -> Tensor:
        """The samples of codes, float32 on the host, images in -1..1."""
        x = torch.cat([self.make(part).float().cpu() for part in torch.split(codes, CHUNK)])
        return x.clamp_(-1, 1) if x.dim() == 4 else x

    @torch.no_grad()
    def images_of(self, z: Tensor) -> Tensor:
        """The samples of latents."""
        return self.images(self.codes_of(z))

    def moved(self, codes: Tensor, by: Tensor) -> Tensor:
        """The codes with `by` [N, free] added to what may be moved."""
        free = codes.shape[-1] - self.fixed
        return torch.cat([codes[..., :free] + by.to(codes), codes[..., free:]], -1)

    def _styles(self, z: Tensor) -> Tensor:
        assert self.style is not None
        w = self.style.w_of(z, *self._given(len(z), z.device))
        return w if self.truncation is None else truncated_style(w, self.style.w_mean, self.truncation)

    def _given(self, n: int, device: torch.device) -> tuple[Tensor, ...]:
        return () if self.y is None else (torch.full((n,), self.y, device=device),)


def latents(game: Game, n: int, *, seed: int = 0, seeds: Sequence[int] | None = None, hold: bool = False) -> Tensor:
    """Latents [n, z_dim]: samples 0..n-1 of `seed`, or the first sample of each of `seeds`.

    `hold`: all make the choices (class, generator) of the first.
    """
    z = torch.cat([game.latent(1, seed=s) for s in seeds]) if seeds else game.latent(n, seed=seed)
    fixed = fixed_latents(game)
    if hold and fixed:
        z = torch.cat([z[:, :-fixed], z[:1, -fixed:].expand(len(z), fixed)], 1)
    return z


def pictures_only(model: Made, tool: str) -> None:
    """InputError where samples are no images."""
    if len(model.spec.shape) != 3:
        raise InputError(
            f"{tool}: this model makes samples of shape {list(model.spec.shape)}, and pictures are of images"
        )
