"""gantlet diagnose"""

from __future__ import annotations

import json as json_
import math
from pathlib import Path
from typing import Annotated, Any

import typer


def diagnose(
    run: Annotated[str, typer.Argument(help="A run: the folder that gantlet train wrote, finished or not.")],
    deep: Annotated[
        bool, typer.Option("--deep", help="Also the game's spectrum and its duality gap at the last state; minutes.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Where the page goes; RUN/diagnosis/index.html without it.")] = None,
    with_: Annotated[list[str] | None, typer.Option("--with", help="A module of yours that registers parts.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:
    """What is wrong with a training, why, and what to do: in words, and as a page with the curves that show it."""
    from gantlet import api
    from gantlet.doctor.page import write_page
    from gantlet.doctor.reading import readings
    from gantlet.doctor.words import of_the_loss, report
    from gantlet.runs.deep import deep_look
    from gantlet.runs.folder import RunFolder
    from gantlet.runs.plugins import given, modules_of

    def say(text: str) -> None:
        typer.echo(text, err=True)

    api.plug_in(with_ or [])
    diagnosis, folder = api.diagnose(run), RunFolder.existing(run)
    critic = diagnosis.about.critic
    looked = deep_look(folder, api.opened(folder.recipe(), None, say), say, critic) if deep else None
    more = "" if looked is None else f"A deep look, at the state of step {looked.step}. {looked.found}"
    page = write_page(diagnosis, f"Diagnosis of {folder.path}", out or folder.path / "diagnosis", more)
    if json:
        vitals = {r.vital: r._asdict() | {"inside": r.inside} for r in readings(diagnosis)}
        facts = {"run": str(folder.path), **diagnosis.to_json(), "vitals": vitals, "loss": of_the_loss(diagnosis)}
        facts["deep"] = None if looked is None else {"step": looked.step, **looked.found.to_json()}
        typer.echo(json_.dumps(_finite({**facts, "page": str(page)})))
        return
    typer.echo(report(diagnosis, more=more) + "\n")
    change = next((r.change for f in diagnosis.holding[:1] for r in f.remedies if r.change), ())
    if change:
        own = given(modules_of(diagnosis.about.tree)).split()
        typer.echo(f"to try the first: {' '.join(['gantlet train', str(folder.yaml), *change, *own])}")
    typer.echo(f"page: {page}")


def _finite(tree: Any) -> Any:
    """JSON has no word for NaN: null."""
    if isinstance(tree, dict):
        return {key: _finite(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
