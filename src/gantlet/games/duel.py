"""What games of critics against a generator have in common: who owns what, two turns, and an arena between them."""

from __future__ import annotations

from abc import ABC
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Game, Loss, Turn
from gantlet.core.when import Now
from gantlet.games.arena import Arena, Played
from gantlet.games.labels import Labelled, with_labels

Times = Annotated[int, Field(ge=1, le=100)]


class Duel(Game, ABC):
    """D, all the critics of an arena, against G. A game of this kind builds its arena and its G, then calls `meet`."""

    arena: Arena
    G: nn.Module

    def meet(self, arena: Arena, G: nn.Module, z_dim: int, *, d_steps: int, g_steps: int) -> None:
        """The two sides, and how often each plays in a round."""
        self.arena, self.G, self.z_dim = arena, G, z_dim
        self.d_steps, self.g_steps = d_steps, g_steps
        self.labelled = isinstance(G, Labelled)
        self.classes = G.classes if isinstance(G, Labelled) else 0

    def owns(self) -> dict[str, list[nn.Module]]:
        return {"D": [self.arena.critics], "G": [self.G]}

    def turns(self) -> list[Turn]:
        return [
            Turn("D", "D", self.d_wants, times=self.d_steps),
            Turn("G", "G", self.g_wants, times=self.g_steps),
        ]

    def d_wants(self, scene: Played) -> Loss:
        return self.arena.d_wants(scene, self.G)

    def g_wants(self, scene: Played) -> Loss:
        return self.arena.g_wants(scene, self.G)

    def made_of(self) -> dict[str, nn.Module]:
        return {"G": self.G}

    def stagers(self) -> list[nn.Module]:
        return [self.G, *self.arena.stagers]

    def stage(self, batch: Batch, now: Now) -> Played:
        scene = self.arena.scene(with_labels(batch) if self.labelled else batch, now, self.G, self.z_dim)
        if scene.fake.shape[1:] != scene.real.shape[1:]:
            made, wanted = (list(x.shape[1:]) for x in (scene.fake, scene.real))
            raise InputError(f"G makes samples of shape {made}; those of the data are {wanted}")
        return scene

    def classes_of(self, z: Tensor) -> Tensor | None:
        return self.G.classes_of(z) if isinstance(self.G, Labelled) else None

    def generate(self, z: Tensor, *given: Tensor) -> Tensor:
        fake: Tensor = self.G(z, *given)
        return fake
