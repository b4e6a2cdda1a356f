"""The classic game: one generator against one critic."""

from __future__ import annotations

from typing import Annotated, Any

from gantlet.core.game import Spec
from gantlet.core.registry import Slot, game
from gantlet.games.arena import Arena, built
from gantlet.games.duel import Duel, Times


@game
class Classic(Duel):
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
        arena = Arena(spec, critics={"D": D}, adversarial=adversarial, penalties=penalties, tricks=tricks)
        self.meet(arena, arena.dressed("G", net, spec), int(net.z_dim), d_steps=d_steps, g_steps=g_steps)  # type: ignore[arg-type]
