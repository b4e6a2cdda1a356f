"""Points in the plane with known modes, each a function of its number: nothing is stored, nothing is downloaded."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gantlet.core.errors import InputError, nearest
from gantlet.core.game import Spec
from gantlet.core.noise import key_of
from gantlet.data.dataset import Dataset
from gantlet.data.order import subkey

_HELD_OUT = 10_000  # points of the test split: other keys, so other points


@dataclass(frozen=True)
class Toy:
    """`points` maps uniforms [N, 1], normals [N, 2], modes [N] to [N, 2]; `centres` is [modes, 2], empty for curves."""

    centres: Tensor
    points: Callable[[Tensor, Tensor, Tensor], Tensor]
    count: int


def _around(centres: Tensor, sigma: float, count: int) -> Toy:
    return Toy(centres, lambda u, z, mode: centres[mode] + sigma * z, count)


def ring(*, sigma: float = 0.01, modes: int = 8, count: int = 100_000, radius: float = 1.0) -> Toy:
    """Equal Gaussians on a circle (Metz et al. 2017, "Unrolled GANs")."""
    angle = torch.arange(modes, dtype=torch.float64) * (2 * math.pi / modes)
    return _around((radius * torch.stack([angle.cos(), angle.sin()], 1)).float(), sigma, count)


def grid(*, sigma: float = 0.05, modes: int = 25, count: int = 100_000, spacing: float = 2.0) -> Toy:
    """Equal Gaussians on a square grid around 0 (Srivastava et al. 2017, "VEEGAN"); `modes` is a square number."""
    side = math.isqrt(modes)
    if side * side != modes:
        raise InputError(f"toy:grid: modes={modes} is not a square number; use {side**2} or {(side + 1) ** 2}")
    axis = (torch.arange(side, dtype=torch.float32) - (side - 1) / 2) * spacing
    return _around(torch.cartesian_prod(axis, axis).view(-1, 2), sigma, count)


def swissroll(*, sigma: float = 0.25, count: int = 100_000, scale: float = 7.5) -> Toy:
    """t = 1.5 pi (1 + 2u); (t cos t, t sin t) + sigma n, over `scale` (Gulrajani et al. 2017, "WGAN-GP")."""

    def points(u: Tensor, z: Tensor, mode: Tensor) -> Tensor:
        t = 1.5 * math.pi * (1 + 2 * u)
        return (torch.cat([t * t.cos(), t * t.sin()], 1) + sigma * z) / scale

    return Toy(torch.empty(0, 2), points, count)


TOYS: dict[str, Callable[..., Toy]] = {"ring": ring, "grid": grid, "swissroll": swissroll}


def parse_toy(source: str) -> Toy:
    """`toy:ring?sigma=0.05&modes=8`, with or without `toy:` -> the toy; every fault in it at once."""
    name, _, query = source.removeprefix("toy:").partition("?")
    name = name.partition("#")[0]
    if name not in TOYS:
        raise InputError(f"no toy named {name!r}; {nearest(name, TOYS)}")
    known = inspect.signature(TOYS[name]).parameters
    faults: list[str] = []
    options = {}
    for pair in filter(None, query.partition("#")[0].split("&")):
        option, _, value = pair.partition("=")
        if option not in known:
            faults.append(f"toy:{name} has no option {option!r}; {nearest(option, known)}")
            continue
        options[option], fault = _number(f"toy:{name}: {option}", value, type(known[option].default))
        faults += fault
    if faults:
        raise InputError(faults)
    return TOYS[name](**options)


def _number(what: str, text: str, kind: type) -> tuple[float, list[str]]:
    try:
        value = kind(text)
    except ValueError:
        return 0, [f"{what}={text} is not a {'whole ' if kind is int else ''}number"]
    if not math.isfinite(value) or value < 0 or (kind is int and value < 1):
        return 0, [f"{what}={text} must be {'at least 1' if kind is int else 'finite and not negative'}"]
    return value, []


def toy_modes(source: str) -> Tensor:
    """The centres of the modes of a toy source, float32 [modes, 2]; empty for a curve."""
    return parse_toy(source).centres


class ToyDataset(Dataset):
    """Row i is made from (source, split, i) alone, whatever is asked for beside it."""

    def __init__(self, name: str, split: str, toy: Toy, *, labels: bool = True) -> None:
        if split not in ("train", "test"):
            raise InputError(f"{name}: no split {split!r}; a toy has train and test")
        modes = len(toy.centres)
        self.name, self.split, self.toy, self._with_labels = name, split, toy, labels and modes > 0
        self._count = toy.count if split == "train" else min(toy.count, _HELD_OUT)
        self._key = key_of("toy", split)
        self.spec = Spec((2,), classes=modes if self._with_labels else 0, count=self._count)
        self.class_names = tuple(f"mode {i}" for i in range(modes)) if self._with_labels else ()
        self.fingerprint = f"{key_of(name.partition('#')[0], 1):016x}"

    def __len__(self) -> int:
        return self._count

    def _bits(self, index: Tensor, column: int) -> Tensor:
        """float64 [N] uniform in (0, 1): element (index, column) of this split."""
        bits = subkey(self._key + column, index.cpu())
        return (((bits >> 11) & ((1 << 53) - 1)).double() + 0.5) * 2.0**-53

    def _modes(self, index: Tensor) -> Tensor:
        return (self._bits(index, 0) * max(1, len(self.toy.centres))).long()

    def read(self, index: Tensor) -> Tensor:
        u, radius, angle = (self._bits(index, c) for c in (1, 2, 3))
        length = torch.sqrt(-2 * torch.log(radius))
        z = torch.stack([length * torch.cos(2 * math.pi * angle), length * torch.sin(2 * math.pi * angle)], 1)
        return self.toy.points(u.float().unsqueeze(1), z.float(), self._modes(index))

    def labels_of(self, index: Tensor) -> Tensor | None:
        return self._modes(index) if self._with_labels else None

    def labels_array(self) -> Tensor | None:
        return self.labels_of(torch.arange(len(self)))

    def with_split(self, split: str) -> Dataset:
        return ToyDataset(self.name, split, self.toy, labels=self._with_labels)
