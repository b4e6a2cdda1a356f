"""`gantlet bench speed`: a training step against a plain DCGAN loop, sampling, and reading a folder of JPEGs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from common import in_turn, machine, machine_text, ratios, summary
from gantlet import api
from gantlet.core.game import Batch, Spec
from gantlet.core.machine import fast_bf16, keep_freed_memory
from gantlet.data import Stream, open_source
from gantlet.runs.build import Decided, build
from plain_dcgan import Loop

SPEC = Spec((3, 64, 64), count=64)
Say = Callable[[str], None]


class Fixed:
    """The same 64 images at every position: data costs neither side anything."""

    spec = SPEC

    def __init__(self) -> None:
        self.x = torch.rand(64, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def take(self, first: int, n: int, device: torch.device) -> Batch:
        return Batch(self.x[:n].to(device))


def ours(*, precision: str, channels_last: bool) -> Callable[[], None]:
    """One step of the dcgan recipe through the engine; 64 filters, batch 64."""
    recipe = api.recipe("dcgan", batch=64)
    decided = Decided("cpu", precision, channels_last)
    state, engine = build(recipe, SPEC, decided, steps=1_000)
    data = Fixed()

    def step() -> None:
        state.dynamics(state, engine, data)
        state.now = state.now._replace(step=state.now.step + 1, play=0)
        state.average()

    return step


def plain(*, channels_last: bool) -> Callable[[], None]:
    loop, x = Loop(channels_last=channels_last), Fixed().x
    return lambda: loop.step(x)


SIDES: dict[str, Callable[[], Callable[[], Any]]] = {
    "plain, channels first": lambda: plain(channels_last=False),
    "plain, channels last": lambda: plain(channels_last=True),
    "gantlet float32, channels first": lambda: ours(precision="float32", channels_last=False),
    "gantlet float32, channels last": lambda: ours(precision="float32", channels_last=True),
    "gantlet bf16, channels last": lambda: ours(precision="bf16", channels_last=True),
}


def measure(*, data: str | None = None, quick: bool = False, say: Say = print) -> dict[str, Any]:
    """All tables, as one JSON-able record."""
    names = [name for name in SIDES if "bf16" not in name or fast_bf16(torch.device("cpu"))]
    say(f"training steps, {len(names)} sides in turn, each in a process of its own")
    with ExitStack() as stack:
        sides = {name: stack.enter_context(_process(name)) for name in names}
        times = in_turn(sides, repeats=3 if quick else 7, inner=1 if quick else 3, warmup=2)
    plains = [name for name in sides if name.startswith("plain")]
    best = min(plains, key=lambda name: summary(times[name])["median"])
    say("sampling, starting and reading")
    return {
        "machine": machine(),
        "step": {name: summary(t) for name, t in times.items()},
        "best plain": best,
        "ratio": {name: ratios(times[best], t) for name, t in times.items() if name not in plains},
        "sampling": _sampling(quick=quick),
        "starting": _starting(quick=quick),
        "reading": _reading(quick=quick),
    }


@contextmanager
def _process(name: str) -> Iterator[Callable[[], None]]:
    """A side in its own process, as it runs in life: what `gantlet train` asks of the allocator is not the other's."""
    with subprocess.Popen(
        [sys.executable, __file__, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        ask, answer = process.stdin, process.stdout

        def step() -> None:
            ask.write("step\n")
            ask.flush()
            answer.readline()

        yield step
        process.kill()


def _serve(name: str) -> None:
    """One step for each line of the input."""
    if name.startswith("gantlet"):
        keep_freed_memory()
    step = SIDES[name]()
    for _ in sys.stdin:
        step()
        print("done", flush=True)


def _sampling(*, quick: bool) -> dict[str, float]:
    """Images a second from the trained generator's shape, 64 at a time."""
    state, _ = build(api.recipe("dcgan"), SPEC, Decided("cpu", "float32", False), steps=1)
    game = state.best_game()

    @torch.no_grad()
    def draw() -> None:
        game.generate(game.latent(64, seed=0))

    times = in_turn({"draw": draw}, repeats=3 if quick else 9, inner=2)["draw"]
    return {"images_per_s": 64 / summary(times)["median"]}


def _reading(*, quick: bool) -> dict[str, float]:
    """A folder of JPEGs, 178 x 218: the first start (decoding into the cache), the second, and batches of 64."""
    count = 500 if quick else 2_000
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "photos"
        _photos(folder, count)
        with _cache_in(Path(place) / "cache"):
            began = time.perf_counter()
            open_source(folder, size=64)
            first = time.perf_counter() - began
            began = time.perf_counter()
            stream = Stream(open_source(folder, size=64), seed=0)
            second = time.perf_counter() - began
            place_on, position = torch.device("cpu"), iter(range(0, 10**9, 64))
            times = in_turn({"take": lambda: stream.take(next(position), 64, place_on)}, repeats=5, inner=50)["take"]
    return {"images": count, "first_start_s": first, "decoded_per_s": count / first, "second_start_s": second,
            "batches_images_per_s": 64 / summary(times)["median"]}  # fmt: skip


def _starting(*, quick: bool) -> dict[str, float]:
    """Seconds from the command to its end, or to the first step of a training (medians of whole processes)."""
    command = [sys.executable, "-m", "gantlet"]
    commands = {"--help": ["--help"], "list": ["list"], "show dcgan": ["show", "dcgan"]}
    sides = {
        name: lambda a=a: subprocess.run([*command, *a], check=True, capture_output=True)
        for name, a in commands.items()
    }
    with tempfile.TemporaryDirectory() as out:
        place = iter(Path(out) / str(i) for i in range(1_000))

        def first_step() -> None:
            train = ["train", "r1gan", "--data", "digits", "--steps", "100000", "--out", str(next(place))]
            with subprocess.Popen([*command, *train], stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                while not process.stdout.readline().startswith("step 1/"):
                    pass
                process.kill()

        times = in_turn({**sides, "first step of train --data digits": first_step}, repeats=3 if quick else 7, inner=1)
    return {name: summary(t)["median"] for name, t in times.items()}


def _photos(folder: Path, count: int) -> None:
    """Smooth random pictures: they decode like photos."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        small = rng.integers(0, 255, (14, 11, 3), dtype=np.uint8)
        Image.fromarray(small).resize((178, 218), Image.Resampling.BICUBIC).save(folder / f"{i:05d}.jpg", quality=90)


@contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    """GANTLET_CACHE for a while."""
    before = os.environ.get("GANTLET_CACHE")
    os.environ["GANTLET_CACHE"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("GANTLET_CACHE")
        if before is not None:
            os.environ["GANTLET_CACHE"] = before


def text(table: dict[str, Any]) -> str:
    """The record as the page's markdown."""
    lines = [
        f"Machine: {machine_text(table['machine'])}.",
        "",
        "| DCGAN 64 x 64, 64 filters, batch 64 | ms a step, median (min-max) | against the better plain loop |",
        "|---|---|---|",
    ]
    for name, t in table["step"].items():
        ratio = table["ratio"].get(name)
        said = f"{ratio['median']:.2f}x ({ratio['min']:.2f}-{ratio['max']:.2f})" if ratio else ""
        lines.append(f"| {name} | {1e3 * t['median']:.0f} ({1e3 * t['min']:.0f}-{1e3 * t['max']:.0f}) | {said} |")
    read = table["reading"]
    lines += [
        "",
        f"Sampling: {table['sampling']['images_per_s']:.0f} images/s. "
        f"A folder of {read['images']:,} JPEGs (178 x 218 -> 64 x 64): first start {read['first_start_s']:.1f} s "
        f"({read['decoded_per_s']:.0f} images/s), second start {read['second_start_s']:.2f} s, "
        f"then {read['batches_images_per_s']:,.0f} images/s.",
        "",
        "Whole processes: " + ", ".join(f"{name} {t:.2f} s" for name, t in table["starting"].items()) + ".",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    _serve(sys.argv[1])
