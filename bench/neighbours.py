"""`gantlet bench neighbours`: precision, recall, density and coverage of 2048 features against the prdc package."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common import in_turn, machine, machine_text, ratios, summary
from gantlet.core.errors import InputError
from gantlet.metrics.nearest import neighbours
from gantlet.metrics.neighbours import balls_of_both

DIMENSION, K = 2048, 5
BOTH = (2_000, 5_000, 10_000)  # reals and fakes each; prdc holds several matrices n x n of float64
LARGE = 50_000  # the count papers report: five such matrices are 100 GB
AIM_RATIO, AIM_MIB = 3.0, 2048
Say = Callable[[str], None]


def sides(n: int, dimension: int = DIMENSION) -> tuple[Tensor, Tensor]:
    """Reals and fakes [n, dimension], normal, the fakes a little off."""
    drawn = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(n, dimension, generator=drawn) for _ in range(2))
    return real, fake.mul_(0.97)


def ours(real: Tensor, fake: Tensor) -> dict[str, float]:
    """The four, as the metrics compute them."""
    radii = [neighbours(side, K).distance[:, K - 1] for side in (real, fake)]
    found = balls_of_both(real, fake, *radii)
    shares = {"precision": found.around > 0, "recall": found.reached > 0, "coverage": found.hits > 0}
    return {
        **{name: float(hit.double().mean()) for name, hit in shares.items()},
        "density": float(found.around.double().mean()) / K,
    }


def theirs(real: Tensor, fake: Tensor) -> dict[str, float]:
    """The four by the prdc package, which prints."""
    from prdc import compute_prdc

    with contextlib.redirect_stdout(io.StringIO()):
        found = compute_prdc(real.numpy(), fake.numpy(), nearest_k=K)
    return {name: float(value) for name, value in found.items()}


def measure(*, data: str | None = None, quick: bool = False, say: Say = print) -> dict[str, Any]:
    """Times side by side where prdc can run, and time and memory alone at 50,000."""
    if data is not None:
        raise InputError("bench neighbours has its own data; leave --data out")
    table: dict[str, Any] = {"machine": machine(), "prdc": find_spec("prdc") is not None, "rows": []}
    if not table["prdc"]:
        say("prdc is not installed: its column stays empty (pip install prdc)")
    for n in BOTH[:1] if quick else BOTH:
        say(f"{n:,} reals and {n:,} fakes")
        table["rows"].append(_pair(n, repeats=3, prdc=table["prdc"]) | _alone(n))
    if not quick:
        say(f"{LARGE:,} reals and {LARGE:,} fakes: minutes")
        table["rows"].append(_alone(LARGE))
    return table


def _pair(n: int, *, repeats: int, prdc: bool) -> dict[str, Any]:
    """Both in turn on the same features, and how far apart their answers are."""
    real, fake = sides(n)
    runs = {"ours": ours, "prdc": theirs} if prdc else {"ours": ours}
    answers = {name: run(real[:500], fake[:500]) for name, run in runs.items()}  # warm, and compared
    times = in_turn(
        {name: lambda r=run: r(real, fake) for name, run in runs.items()}, repeats=repeats, inner=1, warmup=0
    )
    found = {name: summary(t) for name, t in times.items()}
    if prdc:
        found["ratio"] = ratios(times["prdc"], times["ours"])
        found["apart"] = max(abs(answers["ours"][key] - answers["prdc"][key]) for key in answers["ours"])
    return found


def _alone(n: int) -> dict[str, Any]:
    """Once in a process of its own: seconds, and the most memory beyond the features."""
    command = [sys.executable, __file__, str(n), str(torch.get_num_threads())]
    place = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": place}
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@contextmanager
def peak() -> Iterator[dict[str, float]]:
    """MiB of this process at most inside, over what it had before, looked at every 20 ms (Linux; else nothing)."""
    found, stop = {"mib": 0.0}, threading.Event()
    before = _resident()

    def look() -> None:
        while not stop.wait(0.02):
            found["mib"] = max(found["mib"], _resident() - before)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    yield found
    stop.set()
    thread.join()


def _resident() -> float:
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if status.exists() else 0.0


def _serve(n: int, threads: int) -> None:
    """One measurement, as JSON on stdout."""
    torch.set_num_threads(threads)
    real, fake = sides(n)
    ours(real[:256], fake[:256])
    with peak() as memory:
        began = time.perf_counter()
        found = ours(real, fake)
        seconds = time.perf_counter() - began
    print(json.dumps({"n": n, "seconds": seconds, "mib": memory["mib"], "scores": found}))


def text(table: dict[str, Any]) -> str:
    """The record as the page's markdown."""
    lines = [
        f"Machine: {machine_text(table['machine'])}.",
        "",
        f"| reals and fakes, {DIMENSION} features | gantlet, s | beyond the features | prdc, s | prdc over gantlet |",
        "|---|---|---|---|---|",
    ]
    for row in table["rows"]:
        own = _said(row["ours"]) if "ours" in row else f"{row['seconds']:.1f}"
        other = _said(row["prdc"]) if "prdc" in row else "not run"
        ratio = (
            f"{row['ratio']['median']:.2f}x ({row['ratio']['min']:.2f}-{row['ratio']['max']:.2f})"
            if "ratio" in row
            else ""
        )
        lines.append(f"| {row['n']:,} | {own} | {row['mib']:,.0f} MiB | {other} | {ratio} |")
    apart = [row["apart"] for row in table["rows"] if "apart" in row]
    lines += ["", f"Aim: at least {AIM_RATIO:.0f}x prdc, under {AIM_MIB:,} MiB beyond the features."]
    if apart:
        lines[-1] += f" The answers are the same to {max(apart):.0e}."
    return "\n".join(lines)


def _said(t: dict[str, float]) -> str:
    return f"{t['median']:.2f} ({t['min']:.2f}-{t['max']:.2f})"


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]))
