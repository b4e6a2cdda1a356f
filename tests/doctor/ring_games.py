"""Small games on a ring of points with the doctor watching, and windows written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from gantlet.core.errors import NonFiniteError
from gantlet.core.game import Batch
from gantlet.core.noise import uniform
from gantlet.core.recipe import recipe
from gantlet.core.train import train
from gantlet.data import Stream, open_source
from gantlet.doctor import About, Diagnosis, Doctor, Window
from gantlet.doctor.rows import rows_for
from gantlet.runs.build import build, decide, spec_of, stream_of
from helpers import RECIPES

CPU = torch.device("cpu")
RING = "toy:ring?sigma=0.05"
BOTH = tuple(f"players.{p}.{o}" for p in ("D", "G") for o in ("lr=1e-3", "beta1=0", "beta2=0.99"))
BASE = ("G.z=4", "G.hidden=[48,48]", "D.hidden=[48,48]", "batch=64", "average=null", "precision=float32", *BOTH)
R1, R2 = "penalties.r1.gamma=0.1", "penalties.r2.gamma=0.1"
BARE = ("penalties={}",)
assert "mlp" in RECIPES  # the helpers have registered what recipes are made of


class Few:
    """Only the first n rows of a stream's data set, drawn again and again."""

    def __init__(self, stream: Stream, n: int) -> None:
        self.stream, self.n, self.spec = stream, n, stream.spec

    def take(self, first: int, n: int, device: torch.device) -> Batch:
        drawn = uniform((1,), n, key=("few",), first=first, device=device)[:, 0]
        return self.stream.dataset.rows((drawn * self.n).long(), device)


def watched(*changes: str, steps: int, seed: int = 0, few: int | None = None) -> Diagnosis:
    """What the doctor finds in a small training on the ring."""
    made = recipe("mlp").override(*BASE, *changes, f"seed={seed}")
    dataset = open_source(RING)
    state, engine = build(made, spec_of(made, dataset), decide(made, CPU), steps=steps)
    stream, rows = stream_of(made, dataset), rows_for(dataset, CPU)
    assert isinstance(stream, Stream) and rows is not None
    data: Any = stream
    if few is not None:
        data = Few(stream, few)
        rows = rows._replace(train=data.take(0, len(rows.train), CPU).x)
    players = {turn.name: turn.player for turn in state.turns}
    about = About(batch=made["batch"], players=players, tree=made.tree, shape=dataset.spec.shape, count=few or 0)
    doctor = Doctor(about, rows=rows)
    try:
        train(state, engine, data, steps, doctor.watches())
        state.check_finite()
    except NonFiniteError:
        doctor.stopped(state)
    return doctor.diagnosis


# ---- windows by hand ----------------------------------------------------------------------------------------------

WELL = {
    "D.auc": 0.7, "D.auc.std": 0.05, "D.separation": 0.7, "D.spread": 0.1, "D.gap": 0.07, "D.gap.std": 0.02,
    "D.gap.z": 1.2, "D.gap.acf1": 0.05, "D.gap.acf2": 0.0, "D.centre": 0.1, "D.centre.z": 1.2, "D.diversity": 1.0,
    "D.gradient": 0.2, "G.gradient": 0.2, "D.update": 0.06, "G.update": 0.06, "G.slope.fake": 0.2, "D.term.D": 1.3,
    "G.term.G": 0.7, "D.real": 0.3, "D.fake": 0.2, "D.fake_at.0": 0.0, "D.fake_at.0.std": 0.09, "D.width.0": 0.7,
}  # fmt: skip
ABOUT = About(batch=64, critic="D", generator="G", shape=(2,))


def of_windows(vitals: dict[str, Any], n: int = 8, about: About = ABOUT, length: int = 100) -> Diagnosis:
    """The diagnosis of n windows of a healthy training but for these vitals: a list has one for each; None: not seen."""

    def at(value: Any, k: int) -> Any:
        return value[k] if isinstance(value, Sequence) else value

    made = []
    for k in range(n):
        values = {**WELL, **{name: at(value, k) for name, value in vitals.items()}}
        end = length * (k + 1)
        made.append(Window(end - length + 1, end, {name: float(v) for name, v in values.items() if v is not None}))
    return Diagnosis.of(about, made)


def with_tree(*changes: str, name: str = "mlp", **facts: Any) -> About:
    """The facts of a recipe with changes."""
    return replace(ABOUT, tree=recipe(name).override(*changes).tree, **facts)
