"""A run's doctor: who watches it, where its vitals are kept, and what they say afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields, replace
from typing import Any

from torch import nn

from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.game import Game
from gantlet.core.guard import couples_batch
from gantlet.core.recipe import Recipe
from gantlet.core.state import State
from gantlet.data import Dataset
from gantlet.doctor import About, Diagnosis, Doctor, Finding, Window
from gantlet.doctor.rows import rows_for
from gantlet.doctor.words import paragraph
from gantlet.runs.folder import Log, RunFolder, history

Say = Callable[[str], None]


def about_run(state: State, recipe: Recipe, dataset: Dataset) -> About:
    """The fixed facts of a training."""
    critics = _critics(state.game)
    norms = [m for m in critics if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    pairs = getattr(getattr(state.game, "arena", None), "pairs", {}).values()
    spec = dataset.spec
    return About(
        batch=recipe["batch"],
        players={turn.name: turn.player for turn in state.turns},
        tree=recipe.tree,
        shape=tuple(spec.shape),
        classes=state.game.classes,
        count=spec.count,
        batch_norm=bool(norms),
        statistic=any(couples_batch(m) for m in critics if m not in norms),
        ordered=all(pair.ordered for pair in pairs),
    )


def _critics(game: Game) -> list[nn.Module]:
    """Every module of what judges."""
    made = {id(m) for part in game.made_of().values() for m in part.modules()}
    owned = [m for modules in game.owns().values() for part in modules for m in part.modules()]
    return [m for m in owned if id(m) not in made]


def facts_of(about: About) -> dict[str, Any]:
    """What run.yaml keeps of them; the recipe's settings are there anyway."""
    return {k: v for k, v in asdict(replace(about, tree={})).items() if k not in ("tree", "critic", "generator")}


def doctor_for(
    state: State, engine: Engine, recipe: Recipe, dataset: Dataset, folder: RunFolder, say: Say,
    heed: Callable[[State, Diagnosis], None],
) -> Doctor | None:  # fmt: skip
    """Who watches this run; None where the recipe says nobody does, and on every rank but the first."""
    if not recipe["doctor"] or not engine.ranks.first:
        return None

    def tell(finding: Finding, diagnosis: Diagnosis) -> None:
        say(paragraph(finding, diagnosis))

    def write(record: dict[str, Any]) -> None:
        log.write({"step": record["last"], **record})

    about, log = about_run(state, recipe, dataset), Log(folder.vitals)
    rows = rows_for(dataset, engine.device, channels_last=engine.channels_last)
    return Doctor(about, look=recipe["doctor"], rows=rows, write=write, tell=tell, heed=heed)


def recall(doctor: Doctor, folder: RunFolder, step: int) -> None:
    """Take up what was seen before a resume at this step."""
    doctor.recall([w for w in windows_of(folder) if w.last <= step])


def windows_of(folder: RunFolder) -> list[Window]:
    """What was kept of a run's vitals."""
    return [Window.of_json(row) for row in history(folder.vitals)]


def about_of_run(folder: RunFolder) -> About:
    """The fixed facts of a run, from its run.yaml."""
    facts = dict(folder.read().get("doctor") or {})
    known = {f.name for f in fields(About)}
    told: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in facts.items() if k in known}
    return replace(About(**told), tree=folder.recipe().tree)


def diagnosis_of(folder: RunFolder) -> Diagnosis:
    """What the doctor says of a run, from its vitals; InputError where nobody watched it."""
    windows = windows_of(folder)
    if not windows:
        why = "it was trained with doctor=0" if not folder.recipe()["doctor"] else "it stopped before its 20th step"
        raise InputError(
            f"{folder.path}: this run has no vitals: {why}; train with doctor=10 (the default) for at least 20 steps"
        )
    doctor = Doctor(about_of_run(folder))
    doctor.recall(windows)
    return doctor.diagnosis
