"""What every benchmark writes beside its numbers, and how pairs are timed."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gantlet.core.errors import GantletError, InputError
from gantlet.core.machine import describe_machine, fast_bf16
from gantlet.runs.session import Outcome


def machine(device: str = "cpu") -> dict[str, Any]:
    """The machine, in words."""
    place = torch.device(device)
    return {**describe_machine(place), "cpu": _cpu(), "cores": os.cpu_count(), "bf16": fast_bf16(place)}


def machine_text(facts: dict[str, Any]) -> str:
    bf16 = "fast bf16" if facts["bf16"] else "no fast bf16"
    gpu = f", {facts['gpu']}" if "gpu" in facts else ""
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {facts['kernels']}, {bf16}{gpu}, torch {facts['torch']}, "
        f"Python {facts['python']}, {facts['threads']} thread{'' if facts['threads'] == 1 else 's'}"
    )


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def source_in(data: str, folder: str) -> str:
    """The SOURCE of a set in the folder that --data names: its own folder, or the one archive in that."""
    place = Path(data) / folder
    if not place.exists():
        raise InputError(f"--data {data}: {folder} is not there; use a folder that holds it")
    archives = sorted(place.glob("*.tar*")) + sorted(place.glob("*.zip"))
    return str(archives[0] if len(archives) == 1 else place)


def in_turn(
    sides: dict[str, Callable[[], Any]], *, repeats: int, inner: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Seconds per call of each side, in turn (A B C A B C ...), so that a drifting machine is fair to all."""
    for run in sides.values():
        for _ in range(warmup):
            run()
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, run in sides.items():
            began = time.perf_counter()
            for _ in range(inner):
                run()
            times[name].append((time.perf_counter() - began) / inner)
    return times


def finished(run: Outcome) -> None:
    """GantletError for a training that was stopped: half a cell must not be kept."""
    if run.reason != "done":
        raise GantletError(f"{run.reason} at step {run.step}; the cells that are done are kept, run it again to go on")


def summary(times: list[float]) -> dict[str, float]:
    return {"median": statistics.median(times), "min": min(times), "max": max(times)}


def ratios(slow: list[float], fast: list[float]) -> dict[str, float]:
    """How many times faster, pair by pair."""
    return summary([a / b for a, b in zip(slow, fast)])
