"""A game that came from code as an object: a run can name it, only code can bring it back."""

from __future__ import annotations

from gantlet.core.errors import InputError
from gantlet.core.game import Game, Spec
from gantlet.core.registry import game


@game
def code(spec: Spec, *, name: str = "") -> Game:
    """A game given as an object from code; it must be given again to resume or load."""
    raise InputError(
        f"this run's game {name!r} came from code; go on from code with "
        "gantlet.train(game, out=..., resume=True), load with gantlet.load(path, game=...)"
    )
