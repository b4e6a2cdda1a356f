"""gantlet train"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe (gantlet list), a run.yaml to repeat, or a run to --resume.")],
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="penalties.r1.gamma=4 ...")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="digits, toy:ring, a folder, zip, tar, idx, npz, parquet, hf:name.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; without it runs/<date>-<recipe>-<n>.")] = None,
    steps: Annotated[str | None, typer.Option(metavar="N", help="Generator steps in all.")] = None,
    minutes: Annotated[str | None, typer.Option(metavar="M", help="Stop, saved, after so long.")] = None,
    until: Annotated[
        str | None, typer.Option(metavar="RULE", help="converged: stop when nothing changes any more.")
    ] = None,
    autopilot: Annotated[bool, typer.Option("--autopilot", help="Let the doctor turn knobs by what it finds.")] = False,
    size: Annotated[str | None, typer.Option(help="Side of the images, or HEIGHTxWIDTH.")] = None,
    seed: Annotated[str | None, typer.Option(metavar="N", help="Everything random follows from it.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1 or mps; the fastest there is without it.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="Start from the weights of a run, a saved model or a Hub id.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    with_: Annotated[list[str] | None, typer.Option("--with", help="A module of yours that registers parts.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:
    """Train a recipe on a folder of images, or on any other source.

    gantlet train dcgan --data photos/ --steps 20000 players.G.lr=1e-4
    """
    from gantlet import api
    from gantlet.cli.progress import shown
    from gantlet.core.machine import keep_freed_memory, ranks_from_environment

    api.plug_in(with_ or [])
    keep_freed_memory()
    texts = {"size": _size(size) if size is not None else None, "steps": steps, "seed": seed}
    settings: dict[str, Any] = {k: v for k, v in texts.items() if v is not None}  # checked with the rest of the recipe
    if autopilot:
        settings["autopilot"] = True
    with shown(first=ranks_from_environment()[0] == 0) as show:
        outcome = api.train(
            recipe, *(changes or []), data=data, out=out, minutes=_minutes(minutes), until=until, device=device,
            resume=resume, show=show, start=from_, **settings,
        )  # fmt: skip
        show.end(outcome)


def _size(text: str) -> int | list[int] | str:
    """`64` or `48x64` (height x width); anything else is left for the recipe's check to refuse."""
    parts = text.lower().split("x")
    if all(p.isdecimal() for p in parts) and len(parts) in (1, 2):
        return int(parts[0]) if len(parts) == 1 else [int(p) for p in parts]
    return text


def _minutes(text: str | None) -> float | None:
    from gantlet.core.errors import InputError

    try:
        value = None if text is None else float(text)
    except ValueError:
        value = math.nan
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise InputError(f"--minutes {text}: a number above 0 is wanted, such as 30 or 0.5")
    return value
