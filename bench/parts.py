"""All parts side by side: what each needs around it, which two may meet, and how a row of them is played."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch

import gantlet.augment
import gantlet.core.schedules
import gantlet.dynamics
import gantlet.games
import gantlet.losses
import gantlet.nets
import gantlet.recipes
import gantlet.tricks  # noqa: F401 (importing registers)
from gantlet.core import registry
from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Spec
from gantlet.core.recipe import Recipe, recipe
from gantlet.core.state import State
from gantlet.data import Stream, open_source

Part = tuple[str, str]  # kind and name

STEPS = 30
KINDS = ("adversarial", "dynamics", "optimizer", "penalty", "trick")
PARTS: list[Part] = [(kind, name) for kind in KINDS for name in sorted(registry.KINDS[kind].parts)]
# what a part needs around it to be itself
NEEDS: dict[Part, list[str]] = {
    ("adversarial", "ebgan"): ["D=autoencoder", "D.code=8"],
    ("adversarial", "began"): ["D=autoencoder", "D.code=8"],
    ("adversarial", "kl"): ["adversarial.linear_after=5"],  # the exponential of an early critic is astronomical
    ("penalty", "gp"): ["penalties.gp.weight=0.1"],  # what its authors use on points
    ("penalty", "dragan"): ["penalties.dragan.weight=0.1"],
    ("penalty", "lecam"): ["penalties.lecam.after=5"],  # its own 1,000 steps would leave it out of so short a training
    ("trick", "virtual-batch-norm"): ["G.batch_norm=true"],
    ("trick", "self-supervised"): ["D=r3", "D.width=8", "D.widest=16", "D.blocks=1"],  # it names what to decode
    ("trick", "growing"): [
        *("G=progan", "G.z=4", "G.width=4", "G.widest=8", "D=progan", "D.width=4", "D.widest=8"),  # networks that grow
        "tricks.growing={stage_images: 64, fade_images: 64}",
    ],
    ("trick", "image-pool"): ["tricks.image-pool.size=32"],
    ("trick", "concat-labels"): ["conditional=true"],
    ("trick", "projection"): ["conditional=true", "tricks.concat-labels.role=G"],
    ("trick", "ac-gan"): ["conditional=true", "tricks.concat-labels.role=G"],
    ("trick", "reacgan"): ["conditional=true", "tricks.concat-labels.role=G"],
    ("dynamics", "unrolled"): ["dynamics.k=2"],  # of five: the table is long
}
ON_IMAGES: set[Part] = {
    ("adversarial", "ebgan"),
    ("adversarial", "began"),
}  # two numbers are no work for an autoencoder
ADAM = {"D": "lr: 4e-3", "G": "lr: 1e-3"}
RATES = {"sgd": "lr: 0.05, clip_norm: 1", "negative-momentum": "lr: 0.05, clip_norm: 1"}  # penalties of 10 are stiff


@dataclass
class Points:
    """A source as endless rows, in float32."""

    source: str
    dtype: torch.dtype = torch.float32

    @property
    def spec(self) -> Spec:
        return _stream(self.source).spec

    def take(self, first: int, n: int, device: torch.device) -> Batch:
        return _stream(self.source).take(first, n, device)


@cache
def _stream(source: str) -> Stream:
    return Stream(open_source(source), seed=0)


RING, DIGITS = Points("toy:ring?sigma=0.05"), Points("digits")


@cache
def base() -> Recipe:
    return recipe("mlp").override(
        "G.hidden=[32, 32]", "D.hidden=[32, 32]", "G.z=4", "batch=32", f"steps={STEPS}", "average=null",
        *(f"players.{p}={{use: adam, {rate}}}" for p, rate in ADAM.items()),
    )  # fmt: skip


class Row(NamedTuple):
    """Parts that play together."""

    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        return "+".join(name for _, name in self.parts)

    def changes(self) -> list[str]:
        """The overrides that bring them into a recipe."""
        found = []
        for kind, name in self.parts:
            found += {
                "adversarial": [f"adversarial={name}"],
                "penalty": [f"penalties.{name}={{}}"],
                "trick": [f"tricks.{name}={{}}"],
                "dynamics": [f"dynamics={name}"],
                "optimizer": [f"players.{p}={{use: {name}, {RATES.get(name, ADAM[p])}}}" for p in "DG"],
            }[kind]
        return found + [change for part in self.parts for change in NEEDS.get(part, [])]

    def recipe(self) -> Recipe:
        return base().override(*self.changes())

    def begun(self, seed: int = 0) -> tuple[State, Engine, Points]:
        """Before the first step, on the ring, or on the digits where a part refuses points."""
        for data in (DIGITS,) if ON_IMAGES & set(self.parts) else (RING, DIGITS):
            try:
                return (*_begin(self.recipe(), data.spec, seed), data)
            except InputError:
                if data is DIGITS:
                    raise
        raise AssertionError


def _begin(made: Recipe, spec: Spec, seed: int) -> tuple[State, Engine]:
    tree, total = made.tree, made["steps"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        game = registry.bind("game", tree["game"], total=total)(spec)
    engine = Engine(batch=made["batch"])
    players = {k: registry.bind("optimizer", v, total=total) for k, v in tree["players"].items()}
    dynamics = registry.bind("dynamics", tree["dynamics"], total=total)()
    state = State.begin(engine.place(game), players, dynamics, averages={}, seed=seed)
    engine.settle(state)
    return state, engine


def meets(a: Part, b: Part) -> bool:
    """May there be one of each in a recipe? Penalties and tricks are plural."""
    return a[0] != b[0] or a[0] in ("penalty", "trick")


@cache
def refused(parts: tuple[Part, ...]) -> str | None:
    """Why these do not play together; None: they do."""
    try:
        Row(parts).begun()
    except InputError as error:
        return str(error)
    return None
