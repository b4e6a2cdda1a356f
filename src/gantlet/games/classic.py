"""The classic game: one generator against one critic."""

from __future__ import annotations

from typing import Annotated, Any

from gantlet.core.game import Spec
from gantlet.core.registry import Slot, game
from gantlet.games.arena import Arena, built
from gantlet.games.duel import Duel, Times
from gantlet.games.labels import Labelled, refuse_deaf, told


@game
class Classic(Duel):
    """G against D, min over G of max over D (Goodfellow et al. 2014); losses, penalties and tricks are parts.

    `conditional`: G(z, y) against D(x, y) (Mirza and Osindero 2014), the fakes of a batch bearing its reals' labels. How
    the networks hear y is their own affair (conditional norms, projection) or a trick's (concat-labels, projection, ...).
    """

    def __init__(
        self,
        spec: Spec,
        *,
        G: Annotated[Any, Slot("generator")],
        D: Annotated[Any, Slot("critic")],
        adversarial: Annotated[Any, Slot("adversarial")] = {"use": "non-saturating"},  # noqa: B006 (read only)
        penalties: Annotated[Any, Slot("penalty", many=True)] = None,
        tricks: Annotated[Any, Slot("trick", many=True)] = None,
        conditional: bool = False,  # are G and D told the class?
        d_steps: Times = 1,
        g_steps: Times = 1,
    ) -> None:
        super().__init__()
        spec = told(spec, conditional)
        net = built("generator", G, spec)
        arena = Arena(spec, critics={"D": D}, adversarial=adversarial, penalties=penalties, tricks=tricks)
        z_dim: int = net.z_dim  # type: ignore[assignment]
        net = arena.dressed("G", net, spec)
        if conditional:
            refuse_deaf(net, arena)
            net = Labelled(net, z_dim, spec)
        self.meet(arena, net, int(z_dim) + conditional, d_steps=d_steps, g_steps=g_steps)
