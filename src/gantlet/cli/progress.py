"""How a training is seen: a live bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from gantlet.runs.plugins import given
from gantlet.runs.samples import options_for
from gantlet.runs.session import Outcome

PAUSE = 5.0  # seconds between plain lines


class Lines:
    """One line every few seconds."""

    def __init__(self) -> None:
        self.last = 0.0

    def say(self, text: str) -> None:
        typer.echo(text)

    def warn(self, text: str) -> None:
        self.say(text)

    def row(self, row: dict[str, Any], steps: int) -> None:
        now = time.monotonic()
        if now - self.last < PAUSE and row["step"] < steps:
            return
        self.last = now
        left = (steps - row["step"]) / max(row["steps_per_s"], 1e-9)
        typer.echo(f"step {row['step']}/{steps}  {facts(row)}  {clock(left)} left")

    def end(self, outcome: Outcome) -> None:
        for line in last_words(outcome):
            typer.echo(line)


class Silent(Lines):
    """Other ranks say nothing."""

    def say(self, text: str) -> None:
        pass

    def row(self, row: dict[str, Any], steps: int) -> None:
        pass

    def end(self, outcome: Outcome) -> None:
        pass


class Bar(Lines):
    """A bar that redraws itself."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress
        self.task: TaskID | None = None

    def say(self, text: str) -> None:
        self.progress.console.print(text, highlight=False, markup=False)

    def row(self, row: dict[str, Any], steps: int) -> None:
        if self.task is None:
            self.task = self.progress.add_task("", total=steps, facts="")
        self.progress.update(self.task, completed=row["step"], facts=facts(row))

    def end(self, outcome: Outcome) -> None:
        self.progress.stop()
        super().end(outcome)


@contextmanager
def shown(*, first: bool = True) -> Iterator[Lines]:
    """What suits where the output goes."""
    if not first:
        yield Silent()
    elif not sys.stdout.isatty():
        yield Lines()
    else:
        columns = (TextColumn("step"), MofNCompleteColumn(), BarColumn(bar_width=20), TextColumn("{task.fields[facts]}"),
                   TimeRemainingColumn())  # fmt: skip
        with Progress(*columns, console=Console()) as progress:
            yield Bar(progress)


def facts(row: dict[str, Any]) -> str:
    """Speed, losses and score of a row, in one line."""
    terms = "  ".join(f"{name} {value:.3g}" for name, value in row["terms"].items())
    score = row.get("score")
    said = f"  {score['name']} {score['value']:.3g}" if score else ""
    if score and score["floor"] is not None:
        said += f" (reals {score['floor']:.2g})"
    return f"{row['images_per_s']:.0f} img/s  {terms}{said}"


def clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def last_words(outcome: Outcome) -> list[str]:
    """What happened, where the picture is, what to type next."""
    done = "done" if outcome.reason == "done" else f"{outcome.reason}; saved"
    words = [f"{done}: step {outcome.step} after {clock(outcome.seconds)}, in {outcome.path}"]
    if outcome.score is not None:
        floor = outcome.score.floor
        reals = f"; held-out reals score {floor:.2g}" if floor is not None else ""
        words.append(f"{outcome.score.name} {outcome.score.value:.3g}{reals}")
    if outcome.grid is not None:
        words.append(f"samples: {outcome.grid}")
    if outcome.findings:
        words.append(f"something is wrong: {', '.join(outcome.findings)}; see: gantlet diagnose {outcome.path}")
    next_ = f"gantlet sample {outcome.path} {options_for(outcome.spec)}"
    if outcome.reason != "done":
        next_ = f"gantlet train {outcome.path} --resume"
    return [*words, " ".join(["next:", next_, *given(outcome.modules).split()])]
