"""What our Inception and the oracle's are given alike: weights and PNG files that are functions of a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from gantlet.core.noise import key_of, normal, uniform
from gantlet.data import to_uint
from gantlet.metrics.inception import InceptionV3

RECORD = Path(__file__).with_name("inception_recorded.json")
_POOL = 1_048_573  # a prime, so that no two rows of a weight repeat each other


def random_state(seed: int) -> dict[str, Tensor]:
    """A state dict of the public layout: He-scaled convolutions, batch norms that do something."""
    pool = normal((), _POOL, key=(seed, "weights"))
    with torch.device("meta"):
        layout = InceptionV3().state_dict()
    return {name: _one(pool, name, t) for name, t in layout.items()}


def _one(pool: Tensor, name: str, like: Tensor) -> Tensor:
    if not like.is_floating_point():
        return torch.zeros(like.shape, dtype=like.dtype)
    n = like.numel()
    at = key_of(name) % _POOL
    draw = (pool[at : at + n] if at + n <= _POOL else pool.repeat(2 + n // _POOL)[at : at + n]).reshape(like.shape)
    if like.ndim > 1:
        return draw * (2 / like[0].numel()) ** 0.5
    middle = {"running_var": 1.0, "weight": 1.0}.get(name.split(".")[-1], 0.0)
    return middle + 0.1 * draw.clamp(-3, 3)


def layout(state: Mapping[str, Tensor]) -> str:
    """A hash of the names and shapes in a state dict."""
    lines = sorted(f"{name} {list(t.shape)}" for name, t in state.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def pictures(folder: Path, count: int, *, seed: int, side: int = 48, colour: float = 1.0) -> Path:
    """PNG files of soft blobs, `colour` in 0..1 of their contrast; one in four is grey."""
    folder.mkdir(parents=True)
    coarse = uniform((3, 6, 6), count, key=(seed, "pictures")) * 2 - 1
    x = F.interpolate(coarse, (side, side), mode="bicubic", align_corners=False).clamp(-1, 1) * colour
    for i, image in enumerate(to_uint(x).permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image[..., 0] if i % 4 == 3 else image).save(folder / f"{i:03}.png")
    return folder


EVERY = 128  # which features are recorded
COUNTS = (3, 60)  # pictures on a side: what an ordinary test measures, and what was measured once
SIDES = {"real": {"seed": 1}, "fake": {"seed": 2, "colour": 0.7}}


def odd_images() -> Tensor:
    """uint8 [2, 3, 320, 33]: one side shrinks, the other grows, neither by a whole factor."""
    coarse = uniform((3, 9, 5), 2, key=(3, "odd")) * 2 - 1
    return to_uint(F.interpolate(coarse, (320, 33), mode="bilinear", align_corners=False))
