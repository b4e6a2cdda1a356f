"""gantlet bench"""

from __future__ import annotations

import importlib.util
import inspect
import json as json_
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def bench(
    name: Annotated[str, typer.Argument(help="speed, mnist, dirac, mixtures, ...")],
    data: Annotated[str | None, typer.Option(help="The SOURCE it is measured on, where it needs one.")] = None,
    cell: Annotated[str | None, typer.Option(help="Only these cells of the table: A,B.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after so long; what is done is kept.", min=0)] = None,
    out: Annotated[Path | None, typer.Option(help="Write the page here, where the benchmark makes one.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A shorter measurement, not for the tables.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:
    """Measure again what docs/benchmarks.md says, with the machine beside it."""
    import gantlet
    from gantlet.core.errors import InputError, nearest

    folder = Path(gantlet.__file__).parents[2] / "bench"
    known = _benchmarks(folder)
    if not known:
        raise InputError(
            f"the benchmarks are in the source checkout, {folder} is not there; clone it and install with -e"
        )
    if name not in known:
        raise InputError(f"no benchmark named {name!r}; {nearest(name, known)}")
    module = _module(known[name])
    # a comma inside brackets is a list's
    options = {"cell": None if cell is None else re.split(r",(?![^\[]*\])", cell), "minutes": minutes}
    given = {option: value for option, value in options.items() if value is not None}
    faults = [
        f"--{option}: bench {name} has no such option; leave it out"
        for option in given
        if option not in inspect.signature(module.measure).parameters
    ]
    if out is not None and not hasattr(module, "write"):
        faults.append(f"--out: bench {name} makes no page; leave it out")
    if faults:
        raise InputError(faults)
    table: dict[str, Any] = module.measure(data=data, quick=quick, say=lambda text: typer.echo(text, err=True), **given)
    if out is not None:
        for path in module.write(table, out):
            typer.echo(f"wrote {path}", err=True)
    typer.echo(json_.dumps(table) if json else module.text(table))


def _benchmarks(folder: Path) -> dict[str, Path]:
    """Name -> file: those that can be measured, not what they share."""
    files = sorted(folder.glob("[a-z]*.py")) if folder.is_dir() else []
    return {p.stem.replace("_", "-"): p for p in files if "\ndef measure(" in p.read_text(encoding="utf-8")}


def _module(path: Path) -> Any:
    """A benchmark's module, from its file."""
    sys.path.insert(0, str(path.parent))
    name = f"gantlet_bench_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
