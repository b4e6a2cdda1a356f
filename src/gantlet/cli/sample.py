"""gantlet sample"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sample(
    run: Annotated[str, typer.Argument(help="A run, a saved model, or a Hub id.")],
    n: Annotated[int, typer.Option("-n", help="How many.", min=1)] = 64,
    seed: Annotated[int, typer.Option(help="Sample i follows from (seed, i) and its class alone.")] = 0,
    class_: Annotated[
        list[str] | None, typer.Option("--class", help="A class by number or name; several take turns.")
    ] = None,
    out: Annotated[Path, typer.Option(help="A .png, a .npy, or a folder (of a folder a class).")] = Path("samples.png"),
    labels: Annotated[bool, typer.Option("--labels", help="Also a labels.csv in the folder.")] = False,
    truncation: Annotated[
        float | None, typer.Option(help="0.7, say: styles drawn to their mean, or latents kept within -t..t.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    with_: Annotated[list[str] | None, typer.Option("--with", help="A module of yours that registers parts.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:  # fmt: skip
    """Draw samples from a trained run."""
    from gantlet import api
    from gantlet.runs.behind import behind
    from gantlet.runs.samples import write

    api.plug_in(with_ or [])
    model = api.load(run, device=device).truncated(truncation)
    view = behind(model, run) if out.suffix.lower() == ".png" else None
    typer.echo(write(model, n=n, seed=seed, out=out, classes=class_ or None, labels=labels, view=view))
