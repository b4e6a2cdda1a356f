"""Which units are dead: rectifiers that answer 0 whatever they are shown."""

from __future__ import annotations

import torch
from torch import Tensor

from gantlet.doctor.probes.case import PROBES, Case


def units(case: Case) -> dict[str, Tensor]:
    """dead.D, dead.G: the share of units (channels) whose rectifier is exactly 0 for all rows, reals and fakes, that are
    shown; dead_worst.D, dead_worst.G: that of the worst layer. Nothing of networks without such rectifiers.
    """
    if not case.makes:
        return {}
    found = shares("G", case.dead_in_G)
    return {**found, **shares("D", case.dead_in_D)} if case.judges else found


def shares(player: str, layers: list[Tensor]) -> dict[str, Tensor]:
    """Of the dead channels of each layer, bool [channels]."""
    if not layers:
        return {}
    worst = torch.stack([m.float().mean() for m in layers]).max()
    return {f"dead.{player}": torch.cat(layers).float().mean(), f"dead_worst.{player}": worst}


PROBES.append(units)
