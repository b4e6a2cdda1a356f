"""The random numbers of one augmentation of one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gantlet.core.noise import Key, normal, uniform


class Draws(NamedTuple):
    """What one operation is done with."""

    gate: Tensor  # uniform [N]: it is executed where this is below its probability
    u: Tensor  # uniform [N, 2]
    g: Tensor  # normal [N, 2]


def drawn(names: Sequence[str], x: Tensor, *, key: Key, first: int) -> dict[str, Draws]:
    """Numbers for every operation, whichever are used: one operation's do not depend on the others."""
    exact = torch.promote_types(x.dtype, torch.float32)
    u = uniform((len(names), 3), len(x), key=key, first=first, device=x.device).to(exact)
    g = normal((len(names), 2), len(x), key=(*key, "normal"), first=first, device=x.device).to(exact)
    return {name: Draws(u[:, i, 0], u[:, i, 1:], g[:, i]) for i, name in enumerate(names)}
