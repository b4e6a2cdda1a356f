"""Trainings with nothing wrong: a dozen that get there in different ways, and some that only look odd."""

from __future__ import annotations

from typing import Any

import torch

from doctor_faults import Case, each_player
from doctor_play import Bedside
from doctor_sets import Table
from gantlet.core.noise import uniform
from gantlet.core.registry import use

HALF = 0.5  # of the steps: when the data shifts


def few(table: Table) -> Table:
    """A twentieth of the rows, yet many a mode."""
    return table.where(torch.arange(max(500, len(table.x) // 20)).clamp(max=len(table.x) - 1))


def uneven(table: Table) -> Table:
    """Half of the first three classes' rows are gone."""
    if table.y is None:
        return table
    drawn = uniform((), len(table.x), key=("uneven",))
    return table.where((table.y > 2) | (drawn < 0.5))


def shifting(bed: Bedside) -> None:
    """At half-time the data moves a little."""
    when = int(bed.recipe["steps"] * HALF)
    moved = bed.train._replace(x=bed.train.x * 1.1)

    def shift(state: Any, reports: Any) -> None:
        bed.feed.table, bed.unit = moved, 1.1

    bed.spoil.append((lambda now: now.step == when, shift))


def _falling(start: float) -> dict[str, Any]:
    return {"use": "cosine", "start": start, "end": 0.05 * start}


CONTROLS: dict[str, Case] = {
    "ns-r1": Case(changes={"penalties.r2": None}),
    "ns-r1-r2": Case(),
    "rp-r1-r2": Case(changes={"adversarial": "relativistic"}),
    "wgan-gp": Case(changes={"adversarial": "wasserstein", "d_steps": 3, "penalties": {"gp": {"weight": 1.0}}}),
    "hinge-sn": Case(
        changes={"adversarial": "hinge", "penalties": {}, "D.spectral": True, "D.hidden": [128, 128, 128]}
    ),
    "ls-r1": Case(changes={"adversarial": "least-squares", "penalties.r2": None}),
    "pac2": Case(changes={"tricks": {"packing": {"m": 2}}}),
    "momentum-r1": Case(changes={"penalties.r2": None, **each_player(beta1=0.5)}),
    "lr-decay": Case(changes=each_player(lr=_falling(2e-3))),
    "average-only": Case(changes={"penalties": {}, **each_player(lr=5e-4)}),
    "few-rows-noise": Case(changes={"tricks": {"instance-noise": {}}}, train=few),
    "conditional": Case(changes={"conditional": True, "tricks": {"concat-labels": {}}}, needs="labels"),
}
# nothing is wrong with these either; what does not get there in the time is counted apart
ODDITIES: dict[str, Case] = {
    "one-latent": Case(changes={"G.z": 1, "G.bits": 0}),
    "uneven": Case(both=uneven),
    "slow": Case(changes=each_player(lr=5e-4)),
    "shifting": Case(state=shifting),
    "unfinished": Case(steps=0.34),
    "amsgrad": Case(changes={"players": {p: use("amsgrad", lr=2e-3) for p in ("D", "G")}}),
}
