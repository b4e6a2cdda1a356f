"""`auto`: look at the data and the machine, choose, and say why."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch

from gantlet.core.game import Spec
from gantlet.core.machine import fast_bf16
from gantlet.core.recipe import Recipe, about
from gantlet.core.registry import recipe, use
from gantlet.recipes.classic import mlp, r1gan


class Facts(NamedTuple):
    """What `auto` looks at."""

    spec: Spec
    duplicates: int = 0  # rows that repeat another, in the training split
    cores: int = 1
    gpu_bytes: int = 0  # memory of the GPU, 0 without one
    bf16: bool = False
    resizable: bool = True  # may another size be chosen?


def facts_of(spec: Spec, device: torch.device, *, duplicates: int = 0, resizable: bool = True) -> Facts:
    """The facts for this data on this machine."""
    gpu = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0
    return Facts(spec, duplicates, os.cpu_count() or 1, gpu, fast_bf16(device), resizable)


@recipe
@about(
    family="chooses for you",
    year=2026,
    paper="docs/benchmarks.md",
    use="begin here: looks at the data and the machine, and says why",
)
def auto(facts: Facts | None = None) -> Recipe:
    """Looks at the data and the machine, chooses recipe, width, batch, penalty weight and precision, and says why."""
    if facts is None:
        return Recipe("auto", r1gan().tree)
    if len(facts.spec.shape) == 1:
        return _points(facts)
    return _images(facts)


SEEN_BY_SINES = 3  # numbers a point at most, for a critic that sees sines of them: measured in the plane


def _points(facts: Facts) -> Recipe:
    """What does best on the mixtures of docs/benchmarks.md: smooth at first, then a penalty that lets go; a generator
    that can jump; in the plane a critic that sees detail far finer than the whole."""
    (numbers,) = facts.spec.shape
    sines = numbers <= SEEN_BY_SINES
    rate, gamma = ((2e-3, 1e-4), (1.0, 0.1)) if sines else ((2e-3, 5e-5), (1.0, 0.01))
    after = {"after": 0.4} if sines else {}  # every mode gets its share while the game is smooth

    def fall(ends: tuple[float, float]) -> dict[str, object]:
        return {"use": "exponential", "start": ends[0], "end": ends[1], **after}

    critic = use("fourier", hidden=[128, 128, 128], features=128, scale=2.0)
    noise = {"instance-noise": {"sigma": use("exponential", start=1.0, end=1e-3)}}
    base = mlp().override(
        "adversarial=relativistic", "G.z=16", "G.bits=12", "G.hidden=[128, 128, 128]", "D.hidden=[128, 128, 128]",
        "batch=256", players={p: use("adam", lr=fall(rate), amsgrad=True) for p in ("D", "G")},
        penalties={label: {"gamma": fall(gamma)} for label in ("r1", "r2")},
        **({"D": critic, "tricks": noise, "average.half_life_images": 2_000, "steps": 20_000} if sines else {}),
    )  # fmt: skip
    why = (
        f"points of {numbers} numbers: perceptrons, relativistic pair + R1 + R2, gamma from {gamma[0]:g} to {gamma[1]:g}",
        f"rates fall with it, from {rate[0]:g} to {rate[1]:g}: where they stay high the players go round each other",
        "AMSGrad: at rates this high Adam's steps grow where gradients have been small for long, and burst",
        "12 of 16 latents are seen by their sign too: a generator that can jump leaves the space between modes empty",
        *(
            [
                "D sees sines of the points, two cycles a unit, and so how wide a mode is; other sizes: D.scale",
                "D sees noise on all points, as wide as 1 at first: none of the modes is missed, each gets its share",
            ]
            * sines
        ),
    )
    return Recipe("auto", base.tree, why)


def _images(facts: Facts) -> Recipe:
    channels, *_ = facts.spec.shape
    height, width = side = _size(facts)
    shrunk = tuple(facts.spec.shape[1:]) != side
    gamma, why_gamma = _gamma(height, width)
    net, why_net = _width(facts, height * width)
    batch, why_batch = _batch(facts)
    steps, why_steps = _steps(facts, batch)
    base = r1gan().override(
        f"penalties.r1.gamma={gamma}", f"penalties.r2.gamma={gamma}", f"G.width={net}", f"D.width={net}",
        f"batch={batch}", f"steps={steps}", f"precision={'bf16' if facts.bf16 else 'float32'}",
        *([f"size=[{height}, {width}]"] if shrunk else []),
    )  # fmt: skip
    why = (
        f"{facts.spec.count:,} images {height} x {width}, {channels} channel{'s' * (channels > 1)}: "
        "r1gan, the relativistic pair with R1 and R2",
        *([f"from {facts.spec.shape[1]} x {facts.spec.shape[2]}: larger is slow without a GPU"] if shrunk else []),
        why_gamma,
        why_net,
        why_batch,
        why_steps,
        f"precision {'bf16: the processor' if facts.bf16 else 'float32: this processor'} "
        f"{'has' if facts.bf16 else 'has no'} arithmetic for bf16",
        *([f"{facts.duplicates:,} images repeat another: they count twice"] if facts.duplicates else []),
    )
    return Recipe("auto", base.tree, why)


MOST_WITHOUT_GPU = 64 * 64  # pixels


def _size(facts: Facts) -> tuple[int, int]:
    """The data's own size; without a GPU no more pixels than a processor trains in hours, in the same aspect."""
    _, height, width = facts.spec.shape
    scale = (MOST_WITHOUT_GPU / (height * width)) ** 0.5
    if facts.gpu_bytes or scale >= 0.8 or not facts.resizable:
        return height, width
    return max(8, round(height * scale / 4) * 4), max(8, round(width * scale / 4) * 4)


# of R1 and of R2: in sweeps in steps of 4 on digits, MNIST and EuroSAT never more than 6 % behind the best of them
GAMMA = 1.0  # (docs/benchmarks.md, "Penalty weight")
AREA_FROM = 64  # above this side the published presets grow with the area: gamma near (side / 64)^2 (Huang et al. 2024)


def _gamma(height: int, width: int) -> tuple[float, str]:
    side = (height * width) ** 0.5
    if side > AREA_FROM:
        gamma = round((side / AREA_FROM) ** 2, 2)
        return gamma, f"R1 and R2 gamma {gamma:g}: growing with the area above {AREA_FROM} x {AREA_FROM}"
    return GAMMA, f"R1 and R2 gamma {GAMMA:g}: best or near it on digits, MNIST and EuroSAT"


def _width(facts: Facts, pixels: int) -> tuple[int, str]:
    if facts.gpu_bytes:
        return 64, "64 filters: there is a GPU"
    width = 32 if pixels <= 32 * 32 else 16
    return width, f"{width} filters: {facts.cores} processor cores and no GPU"


def _batch(facts: Facts) -> tuple[int, str]:
    """Rows a step: as many as a GPU's memory takes easily, 64 on a processor, never more than a quarter of the set."""
    wanted = 64
    if facts.gpu_bytes:
        _, height, width = facts.spec.shape
        per_row = height * width * 64 * 4 * 24  # activations of both networks, twice differentiated
        wanted = max(4, min(256, int(2 ** ((facts.gpu_bytes / 4 / per_row).__floor__().bit_length() - 1))))
    few = max(2, facts.spec.count // 4)
    if facts.spec.count and few < wanted:
        return few, f"batch {few}: a quarter of the {facts.spec.count} images"
    return wanted, f"batch {wanted}"


def _steps(facts: Facts, batch: int) -> tuple[int, str]:
    """Long enough to see the set often, bounded by what a machine does in an hour or so."""
    images = 12_800_000 if facts.gpu_bytes else 640_000
    steps = max(1_000, images // batch // 1_000 * 1_000)
    return steps, f"{steps:,} steps: {steps * batch / max(facts.spec.count, 1):,.0f} passes over the set"
