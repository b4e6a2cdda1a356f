"""Trainings to be broken, and windows to be judged, for the tests of findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gantlet import api
from gantlet.core import registry
from gantlet.core.engine import Engine
from gantlet.core.game import Batch
from gantlet.core.state import State
from gantlet.core.train import train
from gantlet.data import open_source
from gantlet.data.dataset import Dataset
from gantlet.doctor import About, Diagnosis, Doctor, Seen, Sign, Window
from gantlet.doctor.finding import DETECTORS
from gantlet.doctor.rows import Rows, rows_for
from gantlet.runs.build import build, decide, spec_of, stream_of
from gantlet.runs.doctoring import about_run

CPU = torch.device("cpu")
PRESET = ("batch=64", "data=toy:ring?sigma=0.05", "G.z=4", "G.hidden=[32, 32]", "D.hidden=[32, 32]")
ADAM = tuple(f"players.{p}.{o}" for p in "DG" for o in ("lr=1e-3", "beta1=0", "beta2=0.99"))
R1 = "penalties.r1.gamma=0.1"
OURS = frozenset({"wiring", "data", "structure", "sign"})


@dataclass
class Training:
    """Everything that a fault may reach."""

    recipe: Any
    dataset: Dataset
    state: State
    engine: Engine
    data: Any
    rows: Rows

    def run(self, steps: int) -> Diagnosis:
        doctor = Doctor(about_run(self.state, self.recipe, self.dataset), rows=self.rows)
        train(self.state, self.engine, self.data, steps, doctor.watches())
        return doctor.diagnosis

    def player(self, name: str, weights: list[nn.Parameter]) -> None:
        """A new optimiser of these weights."""
        self.state.players[name] = registry.bind("optimizer", self.recipe[f"players.{name}"], total=300)(weights)

    @property
    def critic(self) -> Any:
        return self.state.game.arena.critics.critics["D"]  # type: ignore[union-attr,index]


def begun(*changes: str, recipe: str = "mlp", preset: tuple[str, ...] = (*PRESET, *ADAM)) -> Training:
    """A small training before its first step."""
    made = api.recipe(recipe, *preset, *changes)
    dataset = open_source(made["data"])
    state, engine = build(made, spec_of(made, dataset), decide(made, CPU), steps=300)
    return Training(made, dataset, state, engine, stream_of(made, dataset), rows_for(dataset, CPU))


def ours(diagnosis: Diagnosis) -> list[str]:
    """Findings of wiring, data, structure and sign."""
    return [f.name for f in diagnosis.ordered if f.detector.rank in OURS]


class Changed:
    """Data whose batches are something else."""

    def __init__(self, data: Any, take: Callable[[Any, int, int], Batch]) -> None:
        self.data, self.change = data, take

    @property
    def spec(self) -> Any:
        return self.data.spec

    def take(self, first: int, n: int, device: torch.device) -> Batch:
        return self.change(self.data, first, n)


def shown(training: Training, take: Callable[[Any, int, int], Batch]) -> None:
    training.data = Changed(training.data, take)


def each_row(training: Training, change: Callable[[Tensor], Tensor]) -> None:
    """Every row of either split changed."""
    shown(training, lambda d, first, n: (b := d.take(first, n, CPU))._replace(x=change(b.x)))
    held = training.rows.held
    training.rows = training.rows._replace(
        train=change(training.rows.train), held=None if held is None else change(held)
    )


# ---- windows by hand --------------------------------------------------------------------------------------------------

ABOUT: Mapping[str, Any] = {"batch": 64, "critic": "D", "generator": "G", "players": {"D": "D", "G": "G"}}


def judged(name: str, *values: Mapping[str, float], steps: tuple[int, ...] = (), **about: Any) -> Sign | None:
    """What a detector says of windows with these vitals, one after the other; they end at steps 20, 50, 100, 200, ..."""
    ends = steps or (20, 50, *range(100, 100 * len(values), 100))
    windows = [Window(max(1, end - 9), end, dict(v)) for end, v in zip(ends, values)]
    return DETECTORS[name].detect(Seen(windows, About(**{**ABOUT, **about})))
