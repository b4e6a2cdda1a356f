"""`gantlet bench stacked-mnist --data PATH [--cell quarter/pacdcgan2,ours] [--minutes M]`: 1,000 modes.

Three digits are the three channels of a picture; a classifier says which of the 1,000 triples it is. Triples are drawn
anew and uniformly from the training split at every step, padded to 32 x 32, in -1..1. `normal` has equal critics,
`quarter` critics with a quarter of the filters (the hard setting of Metz et al. 2017 and Lin et al. 2018). A cell is
SET/METHOD, changed by +path=value (`quarter/ours+steps=50000`); cells that are done are kept, half a cell is gone on with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import gantlet.core.schedules
import gantlet.dynamics
import gantlet.games
import gantlet.losses
import gantlet.nets
import gantlet.tricks  # noqa: F401 (importing registers)
from cells import Cell, Cells, Clock, Plan, Say, joined, mean_text, played
from common import machine, machine_text
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Data, Spec
from gantlet.core.noise import uniform
from gantlet.core.recipe import Recipe
from gantlet.core.registry import use
from gantlet.data import Dataset, open_source, to_unit
from gantlet.metrics import Classifier, train_classifier
from gantlet.metrics.classes import divergence
from gantlet.metrics.overlap import content_of
from mixtures import adam
from seeds import begin, drawn

SIDE, MODES = 32, 1_000
STEPS, SEEDS, SAMPLES = 100_000, 1, 26_000  # 26,000 samples as in VEEGAN and PacGAN
LEAST_ACCURACY = 0.994
SETS = {"normal": 1, "quarter": 4}  # what the critic's filters are divided by

# ---- the data -----------------------------------------------------------------------------------------------------


def padded(x: Tensor) -> Tensor:
    """Zeros (black) around uint8 images up to 32 x 32."""
    h, w = x.shape[-2:]
    top, left = (SIDE - h) // 2, (SIDE - w) // 2
    return F.pad(x, (left, SIDE - w - left, top, SIDE - h - top))


class Padded:
    """A labelled set for the judge, in the size that generators make."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.fingerprint = dataset, f"{dataset.fingerprint} padded to {SIDE}"
        self.spec = dataset.spec._replace(shape=(dataset.spec.shape[0], SIDE, SIDE))

    def __len__(self) -> int:
        return len(self.dataset)

    def rows(self, index: Tensor, device: torch.device | None = None) -> Batch:
        x = to_unit(padded(self.dataset.read(index)))
        y = self.dataset.labels_of(index)
        return Batch(x.to(device), None if y is None else y.to(device))


class Triples(Data):
    """Three digits as three channels, [n, 3, 32, 32], every row three independent draws keyed by its position."""

    def __init__(self, digits: Tensor, seeds: int | tuple[int, ...]) -> None:
        self.digits, self.seeds = digits, seeds  # uint8 [N, 1, H, W]

    @property
    def spec(self) -> Spec:
        return Spec((3, SIDE, SIDE))

    def take(self, first: int, n: int, device: torch.device) -> Batch:
        self.digits = self.digits.to(device)
        u = uniform((3,), n, key=(self.seeds, "triples"), first=first, device=device)
        chosen = self.digits[(u * len(self.digits)).long()].squeeze(2)
        return Batch(to_unit(padded(chosen)))


# ---- what is played -----------------------------------------------------------------------------------------------


def _dcgan(filters: int) -> Recipe:
    """DCGAN as in PacGAN's experiment: Adam (0.5) of 2e-4, batch 64, two generator steps."""
    tree = {
        "game": use(
            "classic",
            G=use("dcgan", z=100, width=64),
            D=use("dcgan", width=filters, smallest=2),
            adversarial=use("non-saturating"),
            g_steps=2,
        ),
        "players": adam(2e-4, 0.5, 0.999),
        "average": None,
        "data": None,
        "precision": "float32",
        "batch": 64,
        "steps": STEPS,
    }
    return Recipe("stacked-mnist", tree)


def _ours(filters: int) -> Recipe:
    """The same networks without normalisation; relativistic pair, R1 and R2 at every step, averaged."""
    return _dcgan(filters).override(
        "adversarial=relativistic",
        "g_steps=1",
        G=use("dcgan", z=100, width=64, batch_norm=False, slope=0.2, init_std=None),
        D=use("dcgan", width=filters, smallest=2, batch_norm=False, init_std=None),
        penalties={"r1": {"gamma": 1.0}, "r2": {"gamma": 1.0}},
        players=adam(2e-4, 0.0, 0.99),
        average=use("ema", half_life_images=10_000),
    )


def recipe(setting: str, method: str) -> Recipe:
    """A method under a setting."""
    filters = 64 // SETS[setting]
    plain, ours = _dcgan(filters), _ours(filters)
    if method.startswith("pacdcgan"):
        m = int(method.removeprefix("pacdcgan"))
        return plain.override(f"tricks.packing.m={m}", f"batch={64 * m}")  # D sees 64 packs
    if method.startswith("unrolled"):
        return plain.override("g_steps=1", "dynamics=unrolled", f"dynamics.k={method.removeprefix('unrolled')}")
    made: dict[str, Recipe] = {
        "dcgan": plain,
        "ours": ours,
        "lookahead": plain.override("g_steps=1", "dynamics=lookahead"),
        "ns-r1-r2": ours.override("adversarial=non-saturating"),
        "r1": ours.override("adversarial=non-saturating", "penalties.r2=null"),
        "relativistic-r1": ours.override("penalties.r2=null"),
    }
    return made[method]


METHODS = ("dcgan", "pacdcgan2", "pacdcgan3", "pacdcgan4", "unrolled1", "unrolled5", "lookahead", "r1",
           "relativistic-r1", "ns-r1-r2", "ours")  # fmt: skip

# ---- how it is measured -------------------------------------------------------------------------------------------


def measure(
    *,
    data: str | None = None,
    quick: bool = False,
    say: Say = print,
    cell: Sequence[str] | None = None,
    minutes: float | None = None,
) -> dict[str, Any]:
    """The table as one JSON-able record: every cell that is done, also those that were not asked for now."""
    if data is None:
        raise InputError("bench stacked-mnist needs the digits: --data PATH of a MNIST source (idx files)")
    train, test = open_source(data, say=say), open_source(f"{data}#test", say=say)
    if train.spec.shape[0] != 1 or max(train.spec.shape[1:]) > SIDE or train.spec.classes != 10:
        raise InputError(f"{data}: ten classes of grey images of at most {SIDE} x {SIDE} are wanted, as of MNIST")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    cells, clock = Cells("stacked-mnist"), Clock(minutes)
    judge = _judge(cells.folder, train, test, quick, device, say)
    wanted = _plan(judge, train, quick)
    for one in wanted.chosen(cell):
        if cells.find(one.facts) is None and not clock.over:
            _fill(one, cells, clock, train, judge, device, say)
    floor = _floor(judge, train, wanted.samples, device)
    done = [found for found in cells.all() if wanted.current(found)]
    return {
        "machine": machine(device),
        "judge": {"hash": judge.hash, "accuracy": judge.accuracy},
        "data": data,
        "samples": wanted.samples,
        "floor": floor,
        "cells": done,
    }


def _plan(judge: Classifier, train: Dataset, quick: bool) -> Plan:
    def made(setting: str, method: str) -> Recipe:
        return recipe(setting, method).override("steps=4") if quick else recipe(setting, method)

    facts = {"data": content_of(train), "judge": judge.hash}
    return Plan(tuple(SETS), METHODS, made, SEEDS, 512 if quick else SAMPLES, facts)


def _judge(folder: Path, train: Dataset, test: Dataset, quick: bool, device: str, say: Say) -> Classifier:
    """The classifier, from the cache or trained here (its training is not counted)."""
    place = folder / f"judge-{'quick-' if quick else ''}{content_of(train)[:16]}"
    if not (place / "classifier.json").is_file():
        say("training the judge")
        made = train_classifier(
            Padded(train), test=Padded(test), epochs=1 if quick else 10, device=torch.device(device), log=say
        )
        made.save(place)
    judge = Classifier.load(place)
    judge.net.to(device)
    if judge.accuracy < LEAST_ACCURACY and not quick:
        raise InputError(
            f"the judge is right on {judge.accuracy:.2%} of the test set; at least {LEAST_ACCURACY:.1%} is wanted"
        )
    return judge


def _fill(wanted: Cell, cells: Cells, clock: Clock, train: Dataset, judge: Classifier, device: str, say: Say) -> None:
    state, engine = begin(wanted.recipe, Spec((3, SIDE, SIDE)), wanted.seeds, device=device)
    digits = Triples(train.read(torch.arange(len(train))), wanted.seeds)
    told = played(state, engine, digits, wanted, cells, clock=clock, say=say)
    if told is None:
        return
    cell = {**told, "machine": machine_text(machine(device))}
    cell["weights"] = {name: sum(w.numel() for w in player.weights) for name, player in state.players.items()}
    if "failed" not in told:
        counts = _counts(judge, drawn(state.best_game(), wanted.seeds, wanted.samples))
        cell["seeds"] = [_scores(c) for c in counts]
    cells.keep(wanted.facts, cell)
    say(f"{_row(cell)} {told['seconds']:.0f} s")


def _floor(judge: Classifier, train: Dataset, count: int, device: str) -> dict[str, float]:
    """What a perfect sampler scores: real triples, by the same judge."""
    real = Triples(train.read(torch.arange(len(train))), 2**31)  # a seed that nobody plays
    pieces = (
        real.take(first, min(1_000, count - first), torch.device(device)).x.unsqueeze(0)
        for first in range(0, count, 1_000)
    )
    return _scores(_counts(judge, pieces)[0])


@torch.no_grad()
def _counts(judge: Classifier, pieces: Iterable[Tensor]) -> Tensor:
    """How many of each seed's samples are of each triple, int64 [k, 1000]; pieces [k, n, 3, 32, 32]."""
    found: list[Tensor] = []
    for some in pieces:
        k, n = some.shape[:2]
        digit = judge.logits(some.clamp(-1, 1).reshape(-1, 1, SIDE, SIDE)).argmax(1).view(k, n, 3)
        found.append((100 * digit[..., 0] + 10 * digit[..., 1] + digit[..., 2]).cpu())
    return torch.stack([row.bincount(minlength=MODES) for row in torch.cat(found, 1)])


def _scores(counts: Tensor) -> dict[str, float]:
    """Modes hit and KL(triples || uniform) in nats; solid modes have at least a fifth of their share."""
    share = counts.double() / counts.sum()
    even = torch.full_like(share, 1 / MODES)
    return {
        "modes": float((counts > 0).sum()),
        "solid_modes": float((share >= 0.2 / MODES).sum()),
        "kl": divergence(share, even),
    }


# ---- how it is shown ----------------------------------------------------------------------------------------------

COLUMNS = {"modes": "modes of 1,000", "solid_modes": "with a fifth of their share", "kl": "KL to uniform"}


def text(table: dict[str, Any]) -> str:
    """The record as the page's markdown: means and standard errors over seeds."""
    judge, floor = table["judge"], table["floor"]
    lines = [
        f"Machine: {machine_text(table['machine'])}. {table['samples']:,} samples. Judge: LeNet {judge['hash'][:16]}, "
        f"{judge['accuracy']:.2%} of the test set. Floor (real triples): {floor['modes']:.0f} modes, KL "
        f"{floor['kl']:.4f}; under about 1.3 times that nothing more can be ranked.",
    ]
    for name in SETS:
        cells = joined(c for c in table["cells"] if c["set"] == name)
        if not cells:
            continue
        lines += ["", f"| {name} | G, D | steps | seeds | {' | '.join(COLUMNS.values())} |", "|---" * 7 + "|"]
        for cell in sorted(cells, key=lambda c: (METHODS.index(c["method"]), c["label"])):
            lines.append(_row(cell))
    return "\n".join(lines)


def _row(cell: dict[str, Any]) -> str:
    sizes = ", ".join(f"{cell['weights'][p] / 1e6:.2f} M" for p in ("G", "D"))
    head = f"| {cell['label'].partition('/')[2]} | {sizes} | {cell['steps']:,} | {cell['facts']['seeds']} |"
    if "failed" in cell:
        return f"{head} failed: {cell['failed']} | | |"
    return f"{head} {' | '.join(mean_text([seed[key] for seed in cell['seeds']]) for key in COLUMNS)} |"
