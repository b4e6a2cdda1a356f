"""Are held-out rows of the kind that is trained on?"""

from __future__ import annotations

import torch
from torch import Tensor

from gantlet.doctor.probes.case import PROBES, Case
from gantlet.doctor.vitals import directions, rows_of


def split(case: Case) -> dict[str, Tensor]:
    """held_at.k: the middle of the held-out rows along the directions in which that of batches is followed; held_count: of
    how many; unseen: the share of them whose class no training row has."""
    held = case.rows.held
    if not case.judges or held is None or len(held) < 2:
        return {}
    flat = rows_of(held)
    middle = (flat @ directions(flat.shape[1], flat.device)).mean(0)
    found = {f"held_at.{k}": value for k, value in enumerate(middle.unbind())}
    found["held_count"] = torch.tensor(float(len(held)))
    y, held_y = case.rows.y, case.rows.held_y
    if y is not None and held_y is not None:
        found["unseen"] = (~torch.isin(held_y, y)).float().mean()
    return found


PROBES.append(split)
