"""gantlet data"""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import Annotated

import typer


def data(
    source: Annotated[str, typer.Argument(help="digits, toy:ring, a folder, zip, tar, idx, npz, parquet, hf:name.")],
    out: Annotated[Path, typer.Option(help="Where the contact sheet goes.")] = Path("contact-sheet.png"),
    size: Annotated[int | None, typer.Option(help="Side of the images.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:
    """What a source holds: count, sizes, modes, classes, duplicates, unreadable files; a picture; what `auto` would do."""
    from gantlet import api
    from gantlet.core.machine import pick_device
    from gantlet.data import contact_sheet, describe, open_source

    report = describe(source, size=size)
    if not json:
        typer.echo("\n".join(report.lines()))
    dataset = open_source(source, size=size, bad_files=1.0)  # refuses what cannot be trained on
    sheet = contact_sheet(dataset, out)
    given = [] if size is None else [f"size={size}"]
    chosen, _ = api.auto_for(
        dataset, pick_device(), *given, data=source, duplicates=report.duplicates, unasked=["bad_files=1"]
    )
    why = chosen.why
    if json:
        typer.echo(json_.dumps({**report.to_json(), "auto": list(why), "sheet": str(sheet)}))
        return
    typer.echo("`gantlet train auto` would choose:\n" + "\n".join(f"  {line}" for line in why))
    typer.echo(f"contact sheet: {sheet}")
