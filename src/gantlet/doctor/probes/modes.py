"""Is a generator in evaluation mode, which is how it is sampled from, the one that was trained?"""

from __future__ import annotations

import torch
from torch import Tensor

from gantlet.doctor.probes.case import PROBES, ROWS, Case, modes, rests, trains
from gantlet.doctor.vitals import rows_of


@torch.no_grad()
def eval_gap(case: Case) -> dict[str, Tensor]:
    """eval_gap: the mean distance of a sample in training mode from that of the same latent in evaluation mode, in units of
    the mean distance of two reals. What a batch norm's running statistics do; dropout, which draws, is left out.
    """
    if not case.makes:
        return {}
    trained, z = case.fake, case.latents(ROWS)
    if any(m.training and not trains(m) for m in case.game.modules()):
        with modes(case.game, trains):
            trained = case.made(case.game, z)
    with modes(case.game, rests):
        resting = case.made(case.game, z)
    return {"eval_gap": (rows_of(trained) - rows_of(resting)).norm(dim=1).mean() / case.width}


PROBES.append(eval_gap)
