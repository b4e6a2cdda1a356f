"""gantlet: adversarial training that converges, and says exactly why when it does not.

    import gantlet
    run = gantlet.train("dcgan", data="photos/", steps=20_000)
    x = gantlet.load(run.path).sample(16, seed=0)   # float32 [16, C, H, W] in -1..1

Importing this loads no torch; the names below do when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "train": "gantlet.api",
    "load": "gantlet.api",
    "create": "gantlet.api",
    "diagnose": "gantlet.api",
    "evaluate": "gantlet.api",
    "save_pretrained": "gantlet.api",
    "open_source": "gantlet.data",
    "recipe": "gantlet.api",
    "use": "gantlet.core.registry",
    "Recipe": "gantlet.core.recipe",
    "Spec": "gantlet.core.game",
    "Batch": "gantlet.core.game",
    "Loss": "gantlet.core.game",
    "Turn": "gantlet.core.game",
    "Game": "gantlet.core.game",
    "Critics": "gantlet.core.critics",
    "Verdict": "gantlet.core.critics",
    "Adversarial": "gantlet.core.critics",
    "Evidence": "gantlet.core.critics",
    "Penalty": "gantlet.losses.penalties",
    "Trick": "gantlet.core.trick",
    "Dynamics": "gantlet.core.dynamics",
    "Classic": "gantlet.games.classic",
    "Now": "gantlet.core.when",
    "GantletError": "gantlet.core.errors",
    "InputError": "gantlet.core.errors",
}

__all__ = ["__version__", *_HOME]

if TYPE_CHECKING:  # `as` the same name: exported on purpose
    from gantlet.api import create as create
    from gantlet.api import diagnose as diagnose
    from gantlet.api import evaluate as evaluate
    from gantlet.api import load as load
    from gantlet.api import recipe as recipe
    from gantlet.api import save_pretrained as save_pretrained
    from gantlet.api import train as train
    from gantlet.core.critics import Adversarial as Adversarial
    from gantlet.core.critics import Critics as Critics
    from gantlet.core.critics import Evidence as Evidence
    from gantlet.core.critics import Verdict as Verdict
    from gantlet.core.dynamics import Dynamics as Dynamics
    from gantlet.core.errors import GantletError as GantletError
    from gantlet.core.errors import InputError as InputError
    from gantlet.core.game import Batch as Batch
    from gantlet.core.game import Game as Game
    from gantlet.core.game import Loss as Loss
    from gantlet.core.game import Spec as Spec
    from gantlet.core.game import Turn as Turn
    from gantlet.core.recipe import Recipe as Recipe
    from gantlet.core.registry import use as use
    from gantlet.core.trick import Trick as Trick
    from gantlet.core.when import Now as Now
    from gantlet.data import open_source as open_source
    from gantlet.games.classic import Classic as Classic
    from gantlet.losses.penalties import Penalty as Penalty


def __getattr__(name: str) -> Any:
    if name == "explore":  # a module of its own: latent tools
        return import_module("gantlet.explore")
    if name not in _HOME:
        raise AttributeError(f"module 'gantlet' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
