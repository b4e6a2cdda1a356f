"""`gantlet bench mixtures [--cell grid/pacgan4,swissroll] [--minutes M]`: points in the plane, many seeds at once.

ring and grid are PacGAN's (Lin et al. 2018; 8 Gaussians of 0.01 on a circle, 25 of 0.05 on a grid), with its networks:
G 2-400-400-400-400-2 with batch norm, D of three maxout layers of 200 x 5, all from N(0, 0.02), Adam (0.8) of 1e-4,
batch 100. Its runs are of 400,000 steps. A cell is SET/METHOD, changed by +path=value: `ring/ours+players.G.lr=1e-3`,
`grid/gan+steps=400000+seeds=4`; `+seeds=4-9` adds six to those. Cells that are done are kept in the cache, half a cell is
gone on with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
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
from gantlet.core.recipe import Recipe
from gantlet.core.registry import use
from gantlet.data import open_source
from gantlet.data.toys import parse_toy
from gantlet.metrics.curve import curve, sliced_w2
from gantlet.metrics.modes import modes
from seeds import Pool, begin, samples

STEPS, SEEDS = 20_000, 10
FEW, MANY = 2_500, 10_000  # samples: as in the papers, and enough for the KL of the grid
SIGMA = {"ring": 0.01, "grid": 0.05}
SETS = ("ring", "grid", "swissroll")
HEALTHY = {"high_quality": 0.6, "kl": 0.1}  # and all modes

# ---- what is played -----------------------------------------------------------------------------------------------


def adam(lr: float, beta1: float, beta2: float, **options: Any) -> dict[str, Any]:
    """Both players' optimiser."""
    return {p: use("adam", lr=lr, beta1=beta1, beta2=beta2, **options) for p in ("D", "G")}


def base() -> Recipe:
    """PacGAN's networks and players: both move at once."""
    tree = {
        "game": use(
            "classic",
            G=use("mlp", z=2, hidden=[400, 400, 400, 400], slope=0.0, batch_norm=True, init_std=0.02),
            D=use("maxout", hidden=[200, 200, 200], pieces=5, init_std=0.02),
            adversarial=use("non-saturating"),
        ),
        "players": adam(1e-4, 0.8, 0.999),
        "dynamics": use("simultaneous"),
        "average": None,
        "data": None,
        "precision": "float32",
        "batch": 100,
        "steps": STEPS,
    }
    return Recipe("mixtures", tree)


def ours() -> Recipe:
    """What the package itself would play: relativistic + R1 + R2 that let go, a generator that can jump, and a critic
    that sees detail far finer than the whole.

    Instance noise begins as wide as the modes are apart, so that none is missed and each gets its share before they come
    apart. Rate and penalty are held meanwhile, then fall together: what is stable is their ratio (a turn of the game by
    h f' is damped by h gamma). AMSGrad, since a rate so high bursts with Adam.
    """

    def falling(start: float, end: float, after: float = 0.4) -> dict[str, Any]:
        return {"use": "exponential", "start": start, "end": end, "after": after}

    gamma = falling(1.0, 0.1)  # smooth while far apart, sharper when near
    return base().override(
        "dynamics=alternating",
        "adversarial=relativistic",
        G=use("mlp", z=16, bits=12, hidden=[128, 128, 128]),
        D=use("fourier", hidden=[128, 128, 128], features=128, scale=2.0),
        penalties={"r1": {"gamma": gamma}, "r2": {"gamma": gamma}},
        tricks={"instance-noise": {"sigma": falling(1.0, 1e-3, after=0.0)}},
        players=adam(falling(2e-3, 1e-4), 0.0, 0.99, amsgrad=True),  # type: ignore[arg-type]
        average=use("ema", half_life_images=2_000),
        batch=256,
    )


def _pac(m: int) -> Recipe:
    return base().override(f"tricks.packing.m={m}", f"batch={100 * m}")  # D sees 100 packs


def _mad() -> Recipe:
    options = {k: v for k, v in base().tree["game"].items() if k != "conditional"}
    return base().override(game={**options, "use": "mad-gan", "generators": 4})


RELATIVISTIC = ("adversarial=relativistic", "penalties.r1.gamma=1", "penalties.r2.gamma=1")
METHODS: dict[str, Callable[[], Recipe]] = {
    "gan": base,
    "r1": lambda: base().override("penalties.r1.gamma=1"),
    "r1-r2": lambda: base().override("penalties.r1.gamma=1", "penalties.r2.gamma=1"),
    "relativistic": lambda: base().override(*RELATIVISTIC),
    "wgan-gp": lambda: base().override(
        "adversarial=wasserstein", "penalties.gp.weight=0.1", "d_steps=5", "dynamics=alternating",
        players=adam(1e-4, 0.5, 0.9),
    ),
    "unrolled": lambda: base().override("dynamics=unrolled", "dynamics.k=5"),
    "pacgan2": lambda: _pac(2),
    "pacgan3": lambda: _pac(3),
    "pacgan4": lambda: _pac(4),
    "mad-gan": _mad,
    "lookahead": lambda: base().override("dynamics=lookahead"),
    "extragradient": lambda: base().override("dynamics=extragradient"),
    "ours": ours,
}  # fmt: skip


def plan(*, quick: bool) -> Plan:
    """What the table is of."""

    def recipe(data: str, method: str) -> Recipe:
        return METHODS[method]().override("steps=20") if quick else METHODS[method]()

    return Plan(SETS, tuple(METHODS), recipe, seeds=2 if quick else SEEDS, samples=500 if quick else MANY)


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
    if data is not None:
        raise InputError("bench mixtures has its own data; leave --data out and name sets by --cell")
    cells, clock, wanted = Cells("mixtures"), Clock(minutes), plan(quick=quick)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for one in wanted.chosen(cell):
        if cells.find(one.facts) is None and not clock.over:
            _fill(one, cells, clock, device, say)
    done = [found for found in cells.all() if wanted.current(found)]
    floors = {name: _floor(name) for name in sorted({c["set"] for c in done})}
    return {"machine": machine(device), "cells": done, "floors": floors}


def _fill(wanted: Cell, cells: Cells, clock: Clock, device: str, say: Say) -> None:
    points = open_source(f"toy:{wanted.set}")
    state, engine = begin(wanted.recipe, points.spec._replace(classes=0), wanted.seeds, device=device)
    pool = Pool(points.rows(torch.arange(len(points))).x, wanted.seeds)
    told = played(state, engine, pool, wanted, cells, clock=clock, say=say)
    if told is None:
        return
    cell = {**told, "machine": machine_text(machine(device))}
    if "failed" not in told:
        made = samples(state.best_game(), wanted.seeds, wanted.samples)
        cell["seeds"] = [_scores(wanted.set, _real(wanted.set, ""), fake) for fake in made]
    cells.keep(wanted.facts, cell)
    say(f"{_row(cell, columns_of(wanted.set))} {told['seconds']:.0f} s")


@cache
def _floor(name: str) -> dict[str, float]:
    """What as many points of the other split score."""
    return _scores(name, _real(name, ""), _real(name, "#test"))


@cache
def _real(name: str, split: str) -> Tensor:
    return open_source(f"toy:{name}{split}").rows(torch.arange(MANY)).x


def _scores(name: str, real: Tensor, fake: Tensor) -> dict[str, float]:
    """One generator's numbers: modes and so on of the first 2,500 as in the papers, the rest of all."""
    if name == "swissroll":
        got = curve(real, fake)
        kept = {key: got[key] for key in ("bins", "solid_bins", "kl", "distance", "off", "sliced_w2")}
        return {**kept, "healthy": float(got["solid_bins"] == got["of"] and got["kl"] < HEALTHY["kl"])}
    centres = [(float(x), float(y)) for x, y in parse_toy(name).centres]
    few, many = (modes(real, some, centres=centres, sigma=SIGMA[name]) for some in (fake[:FEW], fake))
    healthy = (
        few["modes"] == few["of"] and few["high_quality"] >= HEALTHY["high_quality"] and few["kl"] <= HEALTHY["kl"]
    )
    return {
        **{key: few[key] for key in ("modes", "solid_modes", "high_quality", "kl")},
        **{f"{key}_many": many[key] for key in ("modes", "high_quality", "kl")},
        "width": many["width"] or 0.0,  # of everything at one point there is none
        "sliced_w2": sliced_w2(real, fake),
        "healthy": float(healthy),
    }


# ---- how it is shown ----------------------------------------------------------------------------------------------

COLUMNS = {
    "modes": {
        "modes": "modes", "solid_modes": "with 0.2 / K or more", "high_quality": "high quality", "kl": "reverse KL",
        "kl_many": f"KL, {MANY:,} samples", "width": "width", "sliced_w2": "sliced W2", "healthy": "healthy",
    },
    "curve": {
        "bins": "bins of 50", "solid_bins": "with 0.2 of their share", "kl": "KL", "distance": "distance",
        "off": "off the curve", "sliced_w2": "sliced W2", "healthy": "healthy",
    },
}  # fmt: skip


def text(table: dict[str, Any]) -> str:
    """The record as the page's markdown: means and standard errors over seeds."""
    lines = [f"Machine: {machine_text(table['machine'])}."]
    for name in SETS:
        cells = joined(c for c in table["cells"] if c["set"] == name)
        columns = columns_of(name)
        if not cells:
            continue
        lines += ["", f"| {name} | steps | seeds | {' | '.join(columns.values())} |", "|---" * (len(columns) + 3) + "|"]
        order = list(METHODS)
        for cell in sorted(cells, key=lambda c: (order.index(c["method"]), c["label"])):
            lines.append(_row(cell, columns))
        floor = table["floors"][name]
        lines.append(f"| real points | | | {' | '.join(f'{floor[key]:.3g}' for key in columns)} |")
    return "\n".join(lines)


def columns_of(name: str) -> dict[str, str]:
    """Key -> heading."""
    return COLUMNS["curve" if name == "swissroll" else "modes"]


def _row(cell: dict[str, Any], columns: dict[str, str]) -> str:
    name, count = cell["label"].partition("/")[2], cell["facts"]["seeds"]
    if "failed" in cell:
        return f"| {name} | {cell['steps']:,} | {count} | failed: {cell['failed']} {'| ' * len(columns)}|"
    values = [mean_text([seed[key] for seed in cell["seeds"]]) for key in columns]
    return f"| {name} | {cell['steps']:,} | {count} | {' | '.join(values)} |"
