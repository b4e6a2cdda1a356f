"""A deep look at a run: its last good state, asked what its play is like around it."""

from __future__ import annotations

from typing import NamedTuple

import torch

from gantlet.core.errors import InputError
from gantlet.core.game import Batch
from gantlet.core.machine import pick_device
from gantlet.data import Dataset
from gantlet.doctor.deep import Deep, deep
from gantlet.runs import checkpoint
from gantlet.runs.build import build, spec_of, stream_of
from gantlet.runs.folder import RunFolder
from gantlet.runs.resuming import Say, decided_before, take_over

HELD = 1024  # rows that nobody was trained on: enough for a mean


class Looked(NamedTuple):
    """What was found, and where."""

    step: int
    found: Deep


def deep_look(folder: RunFolder, dataset: Dataset, say: Say, critic: str | None = None) -> Looked:
    """The spectrum and the duality gap at the last good state; the run is left as it is. InputError where none was saved.

    Takes minutes where networks are large: both sides play some hundred steps of their own. `critic`: its turn.
    """
    if not checkpoint.states(folder.state):
        raise InputError(f"{folder.path}: --deep looks at a saved state, and this run has saved none yet; leave it out")
    recipe, facts = folder.recipe(), folder.read()
    then = torch.device((facts.get("decided") or {}).get("device", "cpu"))
    there = then.type == "cpu" or (then.type == "cuda" and torch.cuda.is_available())
    decided = decided_before(facts, recipe, then if there else pick_device())
    state, _ = build(recipe, spec_of(recipe, dataset), decided, steps=recipe["steps"])
    take_over(state, folder, recipe, say)
    held = _held_out(dataset, torch.device(decided.device), say)
    return Looked(
        state.now.step, deep(state, stream_of(recipe, dataset), held, rows=recipe["batch"], critic=critic)
    )  # fmt: skip


def _held_out(dataset: Dataset, device: torch.device, say: Say) -> Batch:
    """Rows that nobody was trained on; where there are none, of the others."""
    try:
        rest = dataset.with_split("test")
    except InputError:
        say(f"{dataset.name}: nothing is held out, so the deep look judges by rows that were trained on")
        rest = dataset
    return rest.rows(torch.arange(min(HELD, len(rest))), device)
