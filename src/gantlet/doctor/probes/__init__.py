"""Probes: what is measured now and then, by asking the networks about rows they are not being trained on at the moment.

A probe is a function of a `Case` (state, about and rows, and what several of them need) -> {name: value}. It leaves no
trace: buffers, modes and random streams are as before. Importing a module here registers its probe.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gantlet.core.dynamics import buffers_kept
from gantlet.core.errors import InputError
from gantlet.core.machine import seed_generators
from gantlet.core.noise import key_of
from gantlet.core.state import State
from gantlet.doctor.finding import About
from gantlet.doctor.probes import averages, held_out, latents, leak, modes, outcomes, slopes, spectra, split, units
from gantlet.doctor.probes.case import PROBES, Case, Probe
from gantlet.doctor.rows import Rows

__all__ = [
    "PROBES", "Case", "Probe", "Rows", "averages", "held_out", "latents", "leak", "modes", "outcomes", "probe", "slopes",
    "spectra", "split", "units",
]  # fmt: skip

Found = dict[str, Tensor]
FAULTS = (InputError, RuntimeError, ValueError, TypeError, IndexError)  # what a network says of rows it cannot take


def probe(state: State, about: About, rows: Rows | None) -> dict[str, float]:
    """Everything that can be measured of this training, read back.

    A probe that a network of somebody's own cannot stand is no reason to end a training: it answers probe.failed.NAME.
    """
    if rows is None or len(rows.train) == 0:
        return {}
    device = rows.train.device
    gpus = [device] if device.type == "cuda" else []
    found: Found = {}
    with torch.random.fork_rng(devices=gpus), buffers_kept(state.game):
        try:
            case = Case(state, about, rows)
        except FAULTS:
            return {"probe.failed.case": 1.0}
        for measure in PROBES:
            seed_generators(device, key_of(state.now.seed, state.now.step, "probe"))
            found |= _measured(measure, case)
    if not found:
        return {}
    values = torch.stack([v.detach().float().reshape(()).cpu() for v in found.values()]).tolist()
    return {f"probe.{name}": value for name, value in zip(found, values)}


def _measured(measure: Probe, case: Case) -> Found:
    try:
        return measure(case)
    except FAULTS:
        return {f"failed.{measure.__name__}": torch.ones(())}
