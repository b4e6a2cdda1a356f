"""All parts side by side: each alone, and rows of them in which every pair that may meet does."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Spec
from gantlet.core.recipe import Recipe, recipe
from gantlet.data import Stream, open_source
from helpers import Play, play

KINDS = ("adversarial", "penalty", "trick", "dynamics", "optimizer")
PARTS = [(kind, name) for kind in KINDS for name in sorted(registry.KINDS[kind].parts)]
PLAIN = {"adversarial": "non-saturating", "dynamics": "alternating", "optimizer": "adam"}
# what a part needs around it to be itself
NEEDS = {
    ("adversarial", "ebgan"): ["D=autoencoder", "D.code=8"],
    ("adversarial", "began"): ["D=autoencoder", "D.code=8"],
    ("adversarial", "kl"): ["adversarial.linear_after=5"],  # the exponential of an early critic is astronomical
    ("penalty", "gp"): ["penalties.gp.weight=0.1"],  # what its authors use on points
    ("penalty", "dragan"): ["penalties.dragan.weight=0.1"],
    ("trick", "virtual-batch-norm"): ["G.batch_norm=true"],
    ("trick", "image-pool"): ["tricks.image-pool.size=32"],
    ("penalty", "lecam"): ["penalties.lecam.after=5"],
    ("dynamics", "unrolled"): ["dynamics.k=2"],
}
ON_IMAGES = {("adversarial", "ebgan"), ("adversarial", "began")}  # an autoencoder of two numbers has nothing to learn
Part = tuple[str, str]


@dataclass
class Points:
    """A source as endless rows, in float32."""

    source: str
    dtype: torch.dtype = torch.float32

    @property
    def spec(self) -> Spec:
        return _stream(self.source).spec

    def take(self, first: int, n: int, device: torch.device) -> Batch:
        return _stream(self.source).take(first, n, device)


@cache
def _stream(source: str) -> Stream:
    return Stream(open_source(source), seed=0)


RING, DIGITS = Points("toy:ring?sigma=0.05"), Points("digits")


class Row(NamedTuple):
    """Parts that play together."""

    parts: tuple[Part, ...]

    def changes(self) -> list[str]:
        """The overrides that bring them into a recipe."""
        found = []
        for kind, name in self.parts:
            found += {
                "adversarial": [f"adversarial={name}"],
                "penalty": [f"penalties.{name}={{}}"],
                "trick": [f"tricks.{name}={{}}"],
                "dynamics": [f"dynamics={name}"],
                "optimizer": [f"players.{p}={{use: {name}, {STEPS.get(name, ADAM[p])}}}" for p in "DG"],
            }[kind]
        return found + [change for part in self.parts for change in NEEDS.get(part, [])]

    @property
    def name(self) -> str:
        return "+".join(name for _, name in self.parts)

    def play(self, seed: int = 0) -> Play:
        """Small perceptrons on a ring, on 8 x 8 digits where a trick is for images."""
        for data in (DIGITS,) if ON_IMAGES & set(self.parts) else (RING, DIGITS):
            try:
                return play(self.recipe(), data=data, seed=seed)  # type: ignore[arg-type]
            except InputError:
                if data is DIGITS:
                    raise
        raise AssertionError

    def recipe(self) -> Recipe:
        return base().override(*self.changes())


ADAM = {"D": "lr: 4e-3", "G": "lr: 1e-3"}
STEPS = {"sgd": "lr: 0.05, clip_norm: 1", "negative-momentum": "lr: 0.05, clip_norm: 1"}  # penalties of 10 are stiff


@cache
def base() -> Recipe:
    return recipe("mlp").override(
        "G.hidden=[32, 32]", "D.hidden=[32, 32]", "G.z=4", "batch=32", "steps=30", "players.D={use: adam, lr: 4e-3}",
        "players.G={use: adam, lr: 1e-3}", "average=null",
    )  # fmt: skip


@cache
def refused(parts: tuple[Part, ...]) -> str | None:
    """Why these do not play together; None: they do."""
    try:
        Row(parts).play()
    except InputError as error:
        return str(error)
    return None


def pairs(parts: tuple[Part, ...]) -> Iterator[tuple[Part, Part]]:
    return itertools.combinations(sorted(parts), 2)


def meets(a: Part, b: Part) -> bool:
    """May there be one of each in a recipe? Penalties and tricks are plural."""
    return a[0] != b[0] or a[0] in ("penalty", "trick")


def covering() -> list[Row]:
    """A fixed covering array of strength 2: greedily, one loss, two penalties, two tricks, dynamics, optimiser a row."""
    left = {(a, b) for a, b in itertools.combinations(sorted(PARTS), 2) if meets(a, b) and refused((a, b)) is None}
    rows = []
    while left:
        row: tuple[Part, ...] = min(left)
        for kind in ("adversarial", "penalty", "penalty", "trick", "trick", "dynamics", "optimizer"):
            most = 2 if kind in ("penalty", "trick") else 1
            if sum(k == kind for k, _ in row) >= most:
                continue
            found = [p for p in PARTS if p[0] == kind and p not in row and _new(row, p, left)]
            found = [p for p in found if all(refused(tuple(sorted((p, q)))) is None for q in row)]
            if found:
                row = (*row, max(found, key=lambda p: (_new(row, p, left), p)))
        left -= set(pairs(row))
        rows.append(Row(tuple(sorted(row))))
    return rows


def _new(row: tuple[Part, ...], part: Part, left: set[tuple[Part, Part]]) -> int:
    return sum(tuple(sorted((part, other))) in left for other in row)
