"""The classic game: one generator against one critic."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from torch import Tensor, nn

from gantlet.core.game import Batch, Game, Loss, Spec, Turn
from gantlet.core.registry import Slot, game
from gantlet.core.when import Now
from gantlet.games.arena import Arena, Played, built

Times = Annotated[int, Field(ge=1, le=100)]


@game
class Classic(Game):
    """G against D, min over G of max over D (Goodfellow et al. 2014); losses, penalties and tricks are parts."""

    def __init__(
        self,
        spec: Spec,
        *,
        G: Annotated[Any, Slot("generator")],
        D: Annotated[Any, Slot("critic")],
        adversarial: Annotated[Any, Slot("adversarial")] = {"use": "non-saturating"},  # noqa: B006 (read only)
        penalties: Annotated[Any, Slot("penalty", many=True)] = None,
        tricks: Annotated[Any, Slot("trick", many=True)] = None,
        d_steps: Times = 1,
        g_steps: Times = 1,
    ) -> None:
        super().__init__()
        net = built("generator", G, spec)
        self.z_dim = int(net.z_dim)  # type: ignore[arg-type]
        self.arena = Arena(spec, critics={"D": D}, adversarial=adversarial, penalties=penalties, tricks=tricks)
        self.G = self.arena.dressed("G", net, spec)
        self.d_steps, self.g_steps = d_steps, g_steps

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
        return self.arena.scene(batch, now, self.G, self.z_dim)

    def generate(self, z: Tensor, *given: Tensor) -> Tensor:
        fake: Tensor = self.G(z, *given)
        return fake
