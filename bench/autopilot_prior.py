"""What the autopilot is tried on: trainings drawn from a fixed prior before anybody looked at one of them.

Rates 1e-5..1e-2 of either player, a penalty of 1e-3..1e3 or none, Adam's betas, critic steps, losses, widths, first
weights and sets. c00, c01, ... are what is reported; d00, d01, ... are other draws, to develop on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

import gantlet.core.schedules
import gantlet.dynamics
import gantlet.games
import gantlet.losses
import gantlet.nets
import gantlet.tricks  # noqa: F401 (importing registers)
from gantlet.core.errors import InputError
from gantlet.core.game import Game
from gantlet.core.noise import uniform
from gantlet.core.recipe import Recipe
from gantlet.core.registry import use


class Points(NamedTuple):
    """A set."""

    source: str
    sigma: float  # of a mode; 0: a curve


COUNT = 60
# points that perceptrons learn in the budget: the published ring and grid want 50 times as many steps
SETS = {
    "ring": Points("toy:ring?sigma=0.05", 0.05),
    "grid": Points("toy:grid?modes=25&spacing=0.6&sigma=0.06", 0.06),
    "swissroll": Points("toy:swissroll", 0.0),
}
LOSSES = ("non-saturating", "relativistic", "hinge", "wasserstein")
WIDTHS = (32, 64, 128, 256)
GAINS = (0.5, 1.0, 2.0)  # of the first weights, over torch's own
BATCH = 128
UNPENALISED = 0.25  # share of trainings without a penalty


class Config(NamedTuple):
    """One training of the prior."""

    name: str
    set: str
    loss: str
    lr_G: float
    lr_D: float
    gamma: float  # 0: no penalty
    both: bool  # R2 beside R1
    beta1: float
    beta2: float
    d_steps: int
    width: int
    gain: float


def config(name: str) -> Config:
    """The training of this name: c07, d12."""
    if not re.fullmatch(r"[cd]\d+", name):
        raise InputError(
            f"no configuration named {name!r}; they are c00 to c{COUNT - 1}, and d00, d01, ... to develop on"
        )
    index = int(name[1:])
    u = uniform((11,), 1, key=("autopilot", name[0]), first=index)[0].tolist()

    def spread(at: int, low: float, high: float) -> float:
        return float(f"{low * (high / low) ** u[at]:.4g}")

    def among(at: int, values: Sequence[Any]) -> Any:
        return values[int(u[at] * len(values))]

    return Config(
        f"{name[0]}{index:02d}", among(0, tuple(SETS)), among(1, LOSSES), spread(2, 1e-5, 1e-2), spread(3, 1e-5, 1e-2),
        0.0 if u[4] < UNPENALISED else spread(5, 1e-3, 1e3), u[6] < 0.5, among(7, (0.0, 0.5, 0.9)),
        among(8, (0.9, 0.99, 0.999)), among(9, (1, 5)), WIDTHS[int(u[10] * 4)], GAINS[index % 3],
    )  # fmt: skip


def recipe_of(c: Config, arm: str, budget: int) -> Recipe:
    """What is played: the training as drawn, or, on the arm `static`, its networks with what is always safe.

    `budget`: gradients, over both players' turns.
    """
    d_steps = 1 if arm == "static" else c.d_steps
    tree = {
        "game": use(
            "classic",
            # a generator that sees the signs of its latents can jump, and leave gaps between modes empty
            G=use("mlp", z=8, bits=4, hidden=[c.width, c.width]),
            D=use("mlp", hidden=[c.width, c.width]),
            adversarial=use(c.loss),
            penalties=_penalties(c),
            d_steps=d_steps,
        ),
        "players": {p: use("adam", lr=lr, beta1=c.beta1, beta2=c.beta2) for p, lr in (("D", c.lr_D), ("G", c.lr_G))},
        "average": use("ema", half_life_images=5_000),
        "data": None,
        "precision": "float32",
        "batch": BATCH,
        "steps": budget // (d_steps + 1),
    }
    made = Recipe("autopilot", tree)
    return _safe(made) if arm == "static" else made


def _penalties(c: Config) -> dict[str, Any]:
    if c.loss == "wasserstein":  # WGAN-GP: it has its published weight where none is drawn
        return {"gp": {"weight": c.gamma or 10.0}}
    labels = [] if not c.gamma else ["r1", "r2"] if c.both else ["r1"]
    return {label: {"gamma": c.gamma} for label in labels}


def _safe(made: Recipe) -> Recipe:
    """The relativistic pair with R1 and R2 and Adam (0, 0.99): what the package chooses for points by itself."""
    gamma = {"use": "exponential", "start": 0.1, "end": 0.001}
    player = use("adam", lr=use("cosine", start=2e-3, end=5e-5), beta1=0.0, beta2=0.99)
    return made.override(
        adversarial="relativistic", penalties={"r1": {"gamma": gamma}, "r2": {"gamma": gamma}},
        players={"D": player, "G": player},
    )  # fmt: skip


@torch.no_grad()
def begun(c: Config, game: Game) -> None:
    """The first weights, as large as they were drawn."""
    for weight in game.parameters():
        if weight.dim() > 1:
            weight.mul_(c.gain)
