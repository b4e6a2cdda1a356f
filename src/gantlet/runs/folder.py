"""A run is a folder that explains itself."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from gantlet.core.errors import InputError
from gantlet.core.recipe import Recipe, read_yaml
from gantlet.runs.plugins import missing


class RunFolder:
    """run.yaml, log.jsonl, samples/, state/, model/ under one path."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.yaml = self.path / "run.yaml"
        self.log = self.path / "log.jsonl"
        self.vitals = self.path / "vitals.jsonl"
        self.actions = self.path / "actions.jsonl"  # of the autopilot
        self.samples = self.path / "samples"
        self.state = self.path / "state"
        self.model = self.path / "model"
        self.best = self.path / "best"  # the model that scored best on the way
        self.evaluation = self.path / "evaluation"

    @classmethod
    def new(cls, out: str | Path | None, recipe: str) -> RunFolder:
        """A folder that does not hold a run yet; `runs/<date>-<recipe>-<n>` without a name."""
        folder = cls(out) if out is not None else cls(_free_name(recipe))
        if folder.path.is_file():
            raise InputError(f"{folder.path} is a file; name a folder with --out")
        if folder.yaml.exists():
            raise InputError(
                f"{folder.path} already holds a run; add --resume to go on with it, or choose another --out"
            )
        if folder.path.is_dir() and any(folder.path.iterdir()):
            raise InputError(f"{folder.path} is not empty; choose another --out")
        return folder

    def make(self) -> None:
        """The empty folder itself, once it is sure that the run can begin."""
        try:
            self.samples.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.yaml, os.O_CREAT | os.O_EXCL | os.O_WRONLY))  # ours alone, whoever else begins now
        except FileExistsError as error:
            raise InputError(f"{self.path}: another run has just begun here; choose another --out") from error
        except OSError as error:
            raise InputError(f"{self.path}: cannot be made: {error.strerror}; choose another --out") from error

    def unmake(self) -> None:
        """Take away a run that never made a step; whatever is not empty stays, run.yaml with it."""
        logs = [path for path in (self.log, self.vitals, self.actions) if path.is_file()]
        folders = [path for path in (self.samples, self.state) if path.is_dir()]
        if any(path.stat().st_size for path in logs) or any(any(path.iterdir()) for path in folders):
            return
        for path in [*logs, self.yaml]:
            path.unlink()
        for path in [*folders, self.path]:
            if not any(path.iterdir()):
                path.rmdir()

    @classmethod
    def existing(cls, path: str | Path) -> RunFolder:
        """A folder that holds a run (its run.yaml may be named instead)."""
        path = Path(path)
        folder = cls(path.parent if path.name == "run.yaml" else path)
        if not folder.yaml.is_file():
            near = [str(p.parent) for p in sorted(folder.path.parent.glob("*/run.yaml"))[-3:]]
            hint = f"; runs nearby: {', '.join(near)}" if near else ""
            raise InputError(f"{folder.path} holds no run (no run.yaml){hint}")
        return folder

    def write(self, facts: dict[str, Any]) -> None:
        """run.yaml, whole or not at all."""
        aside = self.yaml.with_suffix(".tmp")
        aside.write_text(yaml.safe_dump(facts, sort_keys=False, allow_unicode=True), encoding="utf-8")
        aside.replace(self.yaml)

    def read(self) -> dict[str, Any]:
        return dict(read_yaml(self.yaml))

    def recipe(self) -> Recipe:
        """The fully resolved recipe; InputError with every fault when run.yaml was edited into nonsense."""
        return recipe_of(self.read(), self.yaml)

    def rows(self) -> list[dict[str, Any]]:
        """The log as one history: where a later attempt went over the same steps, the earlier rows are left out."""
        return history(self.log)


def history(path: Path) -> list[dict[str, Any]]:
    """A log's rows without those that a later attempt went over again."""
    rows: list[dict[str, Any]] = []
    for row in _json_lines(path):
        while rows and rows[-1]["attempt"] < row["attempt"] and rows[-1]["step"] >= row["step"]:
            rows.pop()
        rows.append(row)
    return rows


def recipe_of(facts: dict[str, Any], path: Path) -> Recipe:
    """The recipe in a run.yaml's `settings`; a bare tree of settings is one too."""
    settings = facts.get("settings", facts)
    if not isinstance(settings, dict):
        raise InputError(f"{path}: `settings` is a map of options, this is {type(settings).__name__}")
    try:
        return Recipe(str(facts.get("recipe", path.stem)), settings, tuple(facts.get("why") or ()))
    except InputError as error:
        raise InputError([f"{path}: {fault}" for fault in missing(facts.get("with"), error.faults)]) from error


class Log:
    """A .jsonl file, append-only: a row a line, flushed as it is written, numbered by attempt."""

    def __init__(self, path: Path) -> None:
        self.path = path
        rows = list(_json_lines(self.path))
        if self.path.exists() and self.path.stat().st_size and not self.path.read_bytes().endswith(b"\n"):
            with self.path.open("a", encoding="utf-8") as file:
                file.write("\n")  # a crash cut the last row off
        self.attempt = 1 + max((int(row["attempt"]) for row in rows), default=0)

    def write(self, row: dict[str, Any]) -> None:
        line = json.dumps({"attempt": self.attempt, **row})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a log; a last line cut off by a crash is passed over."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "step" in row and "attempt" in row:
            yield row


def _free_name(recipe: str) -> Path:
    day = datetime.datetime.now().strftime("%Y%m%d")
    n = 1
    while (path := Path("runs") / f"{day}-{recipe}-{n}").exists():
        n += 1
    return path
