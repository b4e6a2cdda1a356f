"""Style generators: those that first make a style w of the latent, and the sample of that."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.core.game import Game


class Choosing(Protocol):
    """A generator around another whose latents end in a coordinate that chooses the class."""

    net: nn.Module

    def classes_of(self, z: Tensor) -> Tensor: ...


class Style:
    """A game's generator as its two halves, z -> w -> sample; z is the game's own latent, choices included.

    What a style generator offers: `mapping(z, y=None) -> w [N, w]`, `synthesis(w, z=None)` of w [N, w] or
    [N, synthesis.layers, w] (the noise follows z, or is a fixed one), and a buffer `w_mean` [w], its own or its mapping's.
    """

    def __init__(self, net: Any, label: Choosing | None) -> None:
        self.net, self.label = net, label

    @property
    def w_mean(self) -> Tensor:
        """[w], the running mean of styles."""
        mean: Tensor = self.net.w_mean if hasattr(self.net, "w_mean") else self.net.mapping.w_mean
        return mean

    @property
    def layers(self) -> int:
        """How many layers of the synthesis read a style of their own."""
        found = getattr(self.net.synthesis, "layers", 0)
        return int(found) if isinstance(found, int) else 0

    def w_of(self, z: Tensor, *given: Tensor) -> Tensor:
        """Latents of the game [N, z_dim] -> styles [N, w]; without a class the latent's own choice."""
        if self.label is not None:
            given = given or (self.label.classes_of(z),)
            z = z[:, :-1]
        w: Tensor = self.net.mapping(z, *given)
        return w

    def made(self, w: Tensor, z: Tensor | None = None) -> Tensor:
        """Styles [N, w] or [N, layers, w] -> samples; with the game's latents z their noise, else a fixed one."""
        if z is not None and self.label is not None:
            z = z[:, :-1]
        x: Tensor = self.net.synthesis(w, z)
        return x


def style_of(game: Game) -> Style | None:
    """The game's style generator; None where it has none."""
    for part in game.made_of().values():
        chooses = callable(getattr(part, "classes_of", None)) and isinstance(getattr(part, "net", None), nn.Module)
        label: Any = part if chooses else None
        net: nn.Module = part if label is None else label.net
        if all(hasattr(net, name) for name in ("mapping", "synthesis")):
            return Style(net, label)
    return None


def needs_style(game: Game, what: str) -> Style:
    """The game's style generator; InputError that says what it was wanted for."""
    found = style_of(game)
    if found is None:
        raise InputError(
            f"{what} is for generators with a mapping and a synthesis (the stylegan families), this model's has none; "
            "use space=z, or another tool"
        )
    return found
