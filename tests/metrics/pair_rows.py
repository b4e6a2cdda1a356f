"""Pairs of images and pairs of latents that the tests and the oracles' recorder both make."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gantlet.core.noise import normal, uniform

IMAGES = {  # name -> (count, channels, height, width)
    "colour": (5, 3, 24, 20),
    "grey": (3, 1, 33, 29),
    "large": (1, 3, 176, 190),
}
PATHS = {"lerp": "lerp", "slerp": "slerp_any"}  # ours -> torch-fidelity's
Z, COUNT, EPSILON, SEED = 6, 301, 0.25, 2020  # a step so long that rounding of its float32 latents is far away


def images_of(name: str) -> tuple[Tensor, Tensor]:
    """(reals, fakes) float32 in -1..1: smooth blobs with detail, and the same brighter, blurred and noisy."""
    n, c, h, w = IMAGES[name]
    coarse = uniform((c, 5, 5), n, key=("pairs", name, "coarse")) * 2 - 1
    real = F.interpolate(coarse, (h, w), mode="bicubic", align_corners=False)
    real = real + 0.3 * normal((c, h, w), n, key=("pairs", name, "detail"))
    fake = F.avg_pool2d(F.pad(real, (1, 1, 1, 1), mode="replicate"), 3, 1)
    fake = 0.8 * fake + 0.1 + 0.1 * normal((c, h, w), n, key=("pairs", name, "noise"))
    return real.clamp(-1, 1), fake.clamp(-1, 1)


def latents() -> tuple[Tensor, Tensor]:
    """Both ends as torch-fidelity draws them: float32 [COUNT, Z]."""
    rng = np.random.RandomState(SEED)
    return torch.from_numpy(rng.randn(COUNT, Z)).float(), torch.from_numpy(rng.randn(COUNT, Z)).float()


def made(z: Tensor) -> Tensor:
    """A smooth generator: float64 [n, 1, 4, 4]."""
    ways = normal((16,), Z, key=("pairs", "generator")).double()
    return torch.tanh(z.double() @ ways).view(-1, 1, 4, 4)


def far(x: Tensor, y: Tensor) -> Tensor:
    """The squared distance of pixels, float64 [n]."""
    return (x - y).square().flatten(1).sum(1)
