"""A game is networks plus turns; a turn is a player and a pure loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.core.making import one_number, said
from gantlet.core.noise import normal
from gantlet.core.registry import game
from gantlet.core.when import Now, When, always


class Spec(NamedTuple):
    """What the data is; nets and games are built from it."""

    shape: tuple[int, ...]  # of one sample: (C, H, W) for images, (d,) for points
    dtype: torch.dtype = torch.float32  # as the networks see it
    classes: int = 0  # 0: no labels
    given: tuple[tuple[int, ...], ...] = ()  # shapes of what a sample is conditioned on
    count: int = 0  # type: ignore[assignment]  # samples in the training split; 0: endless
    shares: tuple[float, ...] = ()  # of each class among them; empty: equal


class Batch(NamedTuple):
    """Rows of data, on the device; images are float in -1..1."""

    x: Tensor  # [N, *spec.shape]
    y: Tensor | None = None  # int64 [N] class labels
    given: tuple[Tensor, ...] = ()
    index: Tensor | None = None  # type: ignore[assignment]  # int64 [N] rows of the data set

    def rows(self, start: int, stop: int) -> Batch:
        """The rows start..stop of every field."""

        def cut(t: Tensor | None) -> Tensor | None:
            return None if t is None else t[start:stop]

        return Batch(self.x[start:stop], cut(self.y), tuple(g[start:stop] for g in self.given), cut(self.index))


class Data(Protocol):
    """Endless keyed data: the n rows at positions first, first + 1, ... are a function of those numbers alone."""

    @property
    def spec(self) -> Spec: ...

    def take(self, first: int, n: int, device: torch.device) -> Batch: ...


@dataclass(frozen=True)
class Loss:
    """The sum of the weighted terms is minimised; stats are only looked at, views only when somebody asks.

    `felt`: rows [N, ...] on the way from the player's weights to the terms (the fakes, in a generator's turn); when somebody
    asks, the engine says how steep the loss is in them.
    """

    terms: dict[str, Tensor]
    stats: dict[str, Tensor] = field(default_factory=dict)
    views: dict[str, Tensor] = field(default_factory=dict)
    felt: dict[str, Tensor] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        return torch.stack(list(self.terms.values())).sum()

    @staticmethod
    def checked(loss: Any, turn: str) -> Loss:
        """The loss; InputError where it is none, or where a term is more than one number, whose sum would weigh more."""
        if not isinstance(loss, Loss) or not loss.terms:
            what = "a Loss without terms" if isinstance(loss, Loss) else said(loss)
            raise InputError(f"turn {turn!r}: its loss gave {what}; it has to return Loss({{name: one number}})")
        for name, term in loss.terms.items():
            one_number(term, f"turn {turn!r}: the term {name!r}")
        return loss

    @property
    def told(self) -> dict[str, Tensor]:
        """The stats, and the mean logits of reals and fakes where verdicts are shown and the stats do not have them."""
        sides = {k: self.views[f"on_{k}"] for k in ("real", "fake") if f"on_{k}" in self.views and k not in self.stats}
        return {**self.stats, **{k: logits.float().mean() for k, logits in sides.items()}}


class Scene(Protocol):
    """What all players see in one evaluation; a game defines its own, and it carries the time."""

    @property
    def now(self) -> Now: ...


class Turn(NamedTuple):
    """Who plays, what it wants (minimised), when, and how often in a row."""

    name: str
    player: str
    loss: Callable[[Any], Loss]
    when: When = always
    times: int = 1


class Game(nn.Module, ABC):
    """Networks and the turns played with them. Subclasses are final: vary a game by passing it other parts."""

    first_order = False  # True: the mixed derivatives do not exist (discrete samples)
    labelled = False  # True: it reads `batch.y`, so every row needs a label
    smooth = True  # False: neighbouring latents make unrelated samples, so there is nothing to move them for
    few_labels = False  # True: it reads labelled rows beside the others, in `batch.given` as (x, y)
    classes = 0  # how many `generate(z, y)` can be asked for, y int64 [N] its first condition; 0: it takes none
    z_dim: int  # width of the latent

    @abstractmethod
    def owns(self) -> dict[str, list[nn.Module]]:
        """Player -> the modules whose weights it moves (they may overlap)."""

    @abstractmethod
    def turns(self) -> list[Turn]:
        """The turns in order of play; names are unique. Called once."""

    @abstractmethod
    def stage(self, batch: Batch, now: Now) -> Any:
        """What all players see of this batch: noise drawn, fakes made."""

    @abstractmethod
    def generate(self, z: Tensor, *given: Tensor) -> Tensor:
        """Latents [N, z_dim] -> samples [N, *spec.shape]."""

    @abstractmethod
    def made_of(self) -> dict[str, nn.Module]:
        """What generates: this is averaged, saved as the model and exported."""

    def forward(self, run: Callable[[], Any]) -> Any:
        """`run()`: torch.func.functional_call plays a turn of this game with other tensors in place of its weights."""
        return run()

    def latent(self, n: int, *, seed: int, first: int = 0) -> Tensor:
        """Latents [n, z_dim]; latent i depends on (seed, first + i) alone, whatever n is."""
        device = next(self.parameters()).device
        return normal((self.z_dim,), n, key=(seed, "latent"), first=first, device=device)

    def classes_of(self, z: Tensor) -> Tensor | None:
        """The class int64 [N] that `generate(z)` makes of each latent; None where the game knows no classes."""
        return None

    def stagers(self) -> list[nn.Module]:
        """The modules `stage` runs: a player that moves one of them is differentiated through the scene."""
        return list(self.made_of().values())


game.makes = Game
