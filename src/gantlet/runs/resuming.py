"""Going on where a run stopped: its last good state, and what is not as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from gantlet.core.errors import InputError, StateError
from gantlet.core.machine import describe_machine
from gantlet.core.recipe import Recipe
from gantlet.core.state import State
from gantlet.data import Dataset
from gantlet.runs import checkpoint
from gantlet.runs.build import Decided, decide
from gantlet.runs.folder import RunFolder

Say = Callable[[str], None]


def data_facts(dataset: Dataset) -> dict[str, Any]:
    """What run.yaml says of the data, and what must be the same to go on."""
    spec = dataset.spec
    return {"source": dataset.name, "fingerprint": dataset.fingerprint, "shape": list(spec.shape),
            "classes": spec.classes, "class_names": list(dataset.class_names), "count": spec.count}  # fmt: skip


def take_over(state: State, folder: RunFolder, recipe: Recipe, say: Say) -> None:
    """The last good state into a fresh one; StateError with the differences when it is of another game."""
    record, path = checkpoint.load(folder.state, say)
    misfits = checkpoint.differences(state.state_dict(), record)
    if misfits:
        listed = "\n".join(f"  {line}" for line in misfits[:8])
        raise StateError(
            f"{path}: this state is of another game than run.yaml describes ({len(misfits)} differences):\n{listed}\n"
            "take back what was changed, here or in run.yaml, or start anew with another --out"
        )
    if record["now"]["seed"] != recipe["seed"]:
        raise InputError(f"seed {recipe['seed']}: the run began with {record['now']['seed']}, and a seed cannot change")
    if record["now"]["step"] > recipe["steps"]:
        raise InputError(f"steps={recipe['steps']}: this run is at step {record['now']['step']}; give more")
    state.load_state_dict(record)


def decided_before(facts: dict[str, Any], recipe: Recipe, device: torch.device | None) -> Decided:
    """What was decided when the run began, unless another device or precision is asked for now."""
    was = facts.get("decided") or {}
    if device is None:
        device = torch.device(was.get("device", "cpu"))
    fresh = decide(recipe, device)
    kept = torch.device(was.get("device", "cpu")).type == device.type and recipe["precision"] == "auto"
    return Decided(fresh.device, str(was["precision"]), bool(was["channels_last"])) if kept else fresh


def compare(facts: dict[str, Any], dataset: Dataset, device: torch.device, say: Say) -> None:
    """Say what is not as it was when the run began; refuse data that the networks were not built for."""
    then, now = facts.get("data") or {}, data_facts(dataset)
    for key in ("shape", "classes"):
        if key in then and then[key] != now[key]:
            raise InputError(
                f"data: {key} was {then[key]} when the run began, {dataset.name} has {now[key]}; give the same data"
            )
    if then.get("fingerprint") != now["fingerprint"]:
        say(f"the data is not what the run began with ({then.get('source')}: {then.get('count')} samples, "
                 f"now {now['count']}): what follows is not the run that was interrupted")  # fmt: skip
    was = facts.get("machine") or {}
    if device.type == "cpu" and isinstance(was.get("threads"), int):
        torch.set_num_threads(was["threads"])
    here = describe_machine(device)
    differs = [f"{k} {was[k]} -> {here[k]}" for k in was if k in here and was[k] != here[k]]
    if differs:
        say(f"not as when the run began: {', '.join(differs)}; what follows may differ in the last bits")
