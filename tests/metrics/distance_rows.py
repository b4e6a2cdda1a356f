"""Features that are made the same everywhere: what the oracles were shown, and the tests show again."""

from __future__ import annotations

import torch
from torch import Tensor

from gantlet.core.noise import normal

CASES = {  # name -> (real, fake, dimension, how much wider and farther off the fakes are)
    "alike": (300, 200, 16, 1.0, 0.0),
    "shifted": (150, 250, 64, 1.0, 0.2),
    "wider": (400, 300, 32, 1.3, 0.1),
    "like a network's": (600, 500, 128, 1.1, 0.3),
}
LOGITS = {"sure": (400, 10, 5.0), "unsure": (403, 37, 0.5)}  # name -> (samples, classes, scale)


def rows_of(name: str) -> tuple[Tensor, Tensor]:
    """Float32 features of both sides; the last ones correlated and cut off at 0."""
    n, m, d, scale, shift = CASES[name]
    x, y = (normal((d,), k, key=("oracle", name, side)) for k, side in ((n, "real"), (m, "fake")))
    y = y * scale + shift
    if name == "like a network's":
        mix = normal((d,), d, key=("oracle", name, "mix")) / d**0.5
        x, y = (torch.relu(side @ mix * 0.5 + 0.3) for side in (x, y))
    return x, y


def logits_of(name: str) -> Tensor:
    """Float32 logits."""
    n, k, scale = LOGITS[name]
    return scale * normal((k,), n, key=("oracle", name, "logits"))
