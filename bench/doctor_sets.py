"""What the doctor is tried on: points of three kinds, two sets of small images, and the training that all cases change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import gantlet.augment
import gantlet.core.schedules
import gantlet.dynamics
import gantlet.games
import gantlet.losses
import gantlet.nets
import gantlet.tricks  # noqa: F401 (importing registers)
from cells import Cells
from common import source_in
from gantlet.core.game import Batch, Data, Spec
from gantlet.core.noise import key_of, uniform
from gantlet.core.recipe import Recipe
from gantlet.core.registry import use
from gantlet.data import Dataset, open_source
from gantlet.data.toys import toy_modes

POINTS = 20_000  # rows of a toy that are trained on
HELD = 2_000  # most rows that are held out


class Table(NamedTuple):
    """Rows in memory."""

    x: Tensor  # [N, *shape]
    y: Tensor | None = None  # int64 [N]

    def where(self, keep: Tensor) -> Table:
        """The rows of a mask or of places."""
        return Table(self.x[keep], None if self.y is None else self.y[keep])

    def times(self, factor: float) -> Table:
        return self._replace(x=factor * self.x)


class Feed(Data):
    """A table in an order that depends on the seed alone; every epoch shows every row once."""

    def __init__(self, table: Table, seed: int) -> None:
        self.table, self.seed = table, seed
        self._orders: dict[tuple[int, int], Tensor] = {}  # (rows, epoch) -> their order

    @property
    def spec(self) -> Spec:
        y = self.table.y
        return Spec(
            tuple(self.table.x.shape[1:]), classes=0 if y is None else int(y.max()) + 1, count=len(self.table.x)
        )

    def take(self, first: int, n: int, device: torch.device) -> Batch:
        rows, y = self.places(first, n), self.table.y
        return Batch(self.table.x[rows].to(device), None if y is None else y[rows].to(device), index=rows)

    def places(self, first: int, n: int) -> Tensor:
        """Which rows stand at the positions first, first + 1, ..., int64 [n]."""
        size, found = len(self.table.x), []
        while n:
            epoch, at = divmod(first, size)
            some = self._order(size, epoch)[at : at + n]
            found.append(some)
            first, n = first + len(some), n - len(some)
        return torch.cat(found)

    def _order(self, size: int, epoch: int) -> Tensor:
        if (size, epoch) not in self._orders:
            drawn = torch.Generator().manual_seed(key_of(self.seed, "order", size, epoch))
            self._orders = {(size, epoch): torch.randperm(size, generator=drawn)}
        return self._orders[size, epoch]


class Bed(NamedTuple):
    """A set: what is read, and what is changed of the base."""

    source: str  # of a set that comes with the package; "": it is in `folder` of --data
    changes: Mapping[str, Any] = {}
    steps: int = 600
    sigma: float = 0.0  # of a mode; 0: modes are not what it is judged by
    seeds: Sequence[int] = (0,)  # of the controls; faults and oddities have the first of them
    folder: str = ""
    # other seeds of a case whose detector was changed after the first ones had been seen
    fresh: Mapping[str, Sequence[int]] = {}

    @property
    def images(self) -> bool:
        return not self.source.startswith("toy:")

    @property
    def modes(self) -> Tensor:
        """float32 [K, 2]; empty for what is not a mixture."""
        return toy_modes(self.source) if self.source.startswith("toy:") else torch.empty(0, 2)


DENSE = {"G.hidden": [128, 128], "D.hidden": [128, 128], "G.z": 32, "G.bits": 0}
DEEP = {"G.hidden": [64, 64, 64], "D.hidden": [64, 64, 64]}
# dev: thresholds may be set by what is seen here; everything else is held out from that, with seeds of its own
BEDS = {
    "ring": Bed("toy:ring?sigma=0.05", sigma=0.05, seeds=range(8)),
    "grid": Bed(
        "toy:grid?modes=25&spacing=0.6&sigma=0.08",
        {**DEEP, "G.z": 8, "G.bits": 8},
        1_000,
        0.08,
        range(120, 140),
        fresh={"conditional": range(140, 160)},
    ),
    "swissroll": Bed("toy:swissroll?sigma=0.5", {**DEEP, "G.bits": 0}, 1_000, seeds=range(220, 240)),
    "digits": Bed("digits", DENSE, steps=1_000, seeds=range(320, 340), fresh={"few-rows-noise": range(340, 360)}),
    "mnist": Bed("", DENSE, steps=1_000, seeds=(400,), folder="mnist"),
    "strokes": Bed("strokes", DENSE, steps=1_000, seeds=range(50, 58)),
}
DEV = ("ring", "strokes")


def base(name: str) -> Recipe:
    """What every case of a set changes in one place: perceptrons, non-saturating with R1 and R2, and it gets there.

    With the signs of its latents a generator can leave gaps between modes empty, so that a blur is no health.
    """
    bed = BEDS[name]
    player = use("adam", lr=2e-3, beta1=0.0, beta2=0.99)
    tree = {
        "game": use(
            "classic",
            G=use("mlp", z=4, bits=4, hidden=[64, 64]),
            D=use("mlp", hidden=[64, 64]),
            adversarial=use("non-saturating"),
            penalties={"r1": {"gamma": 0.1}, "r2": {"gamma": 0.1}},
        ),
        "players": {"D": player, "G": player},
        "average": use("ema", half_life_images=5_000),
        "data": None,
        "precision": "float32",
        "batch": 256,
        "steps": bed.steps,
    }
    return Recipe(f"doctor-{name}", tree).override(**bed.changes)


def opened(name: str, folder: str, split: str = "train") -> Dataset:
    """A split of a set; `folder` holds those that do not come with the package."""
    bed = BEDS[name]
    source = {"": lambda: source_in(folder, bed.folder), "strokes": strokes}.get(bed.source, lambda: bed.source)()
    return open_source(source).with_split(split)


def strokes(count: int = 6_000, side: int = 8) -> str:
    """A set of images that thresholds may be set on: strokes in ten directions, which move, bend and fade. Kept as npz."""
    place = Cells("doctor").folder / "strokes.npz"
    if not place.is_file():
        y = torch.arange(count) % 10
        u = uniform((5,), count, key=("strokes",)).sub(0.5).unsqueeze(2).unsqueeze(3)  # [N, 5, 1, 1] of -.5 to .5
        turn, off, reach, bend, fade = u.unbind(1)
        angle = (y.view(-1, 1, 1) + 0.6 * turn) * torch.pi / 10
        at = torch.linspace(-1, 1, side)
        along = at.view(1, 1, -1) * angle.cos() + at.view(1, -1, 1) * angle.sin()
        across = at.view(1, -1, 1) * angle.cos() - at.view(1, 1, -1) * angle.sin() - 0.4 * off - 0.5 * bend * along**2
        ink = (1 - 0.4 * (fade + 0.5)) * torch.exp(-((across / 0.22) ** 2) - (along / (0.9 + 0.3 * reach)) ** 4)
        np.savez(place, x=(255 * ink).round().to(torch.uint8).numpy(), y=y.numpy())
    return str(place)


@cache
def tables(name: str, folder: str) -> tuple[Table, Table]:
    """The rows that are trained on, and those that are held out."""
    found = []
    for split, most in (("train", POINTS), ("test", HELD)):
        data = opened(name, folder, split)
        rows = data.rows(torch.arange(min(most, len(data))))
        found.append(Table(rows.x, rows.y))
    return found[0], found[1]
