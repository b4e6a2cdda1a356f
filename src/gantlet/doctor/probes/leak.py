"""Does what a critic says of a row depend on the rows beside it?"""

from __future__ import annotations

import torch
from torch import Tensor

from gantlet.core.dynamics import buffers_kept
from gantlet.core.machine import seed_generators
from gantlet.core.noise import key_of
from gantlet.doctor.probes.case import PROBES, Case, modes, trains
from gantlet.losses.penalties import per_row


@torch.no_grad()
def leak(case: Case) -> dict[str, Tensor]:
    """leak: mean |D(x alone) - D([x, fakes])[:B]| in units of the logits' spread, in training mode. 0 where rows are judged
    one by one; a batch norm tells the critic what its neighbours are.

    "Alone" is [x, x]: it has the statistics of x, and whatever draws at random draws the same beside fakes.
    """
    if not case.judges:
        return {}
    n = min(case.whole(max(case.unit, case.chunk // 2)), len(case.real), len(case.fake))  # both are one batch
    x, fake, given = case.real[:n], case.fake[:n], case.labels(n)
    twice = tuple(torch.cat([y, y]) for y in given)
    said = []
    with modes(case.arena.critics, trains):
        for beside in (x, fake):
            seed_generators(x.device, key_of("leak"))
            with buffers_kept(case.arena.critics):
                logits = per_row(case.judged(torch.cat([x, beside]), twice)).flatten().float()
            said.append(logits[: len(logits) // 2])
    return {"leak": (said[0] - said[1]).abs().mean() / case.spread}


PROBES.append(leak)
