"""gantlet bench"""

from __future__ import annotations

import importlib.util
import json as json_
import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def bench(
    name: Annotated[str, typer.Argument(help="speed, mnist, ...")],
    data: Annotated[str | None, typer.Option(help="The SOURCE it is measured on, where it needs one.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A shorter measurement, not for the tables.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:
    """Measure again what docs/benchmarks.md says, with the machine beside it."""
    import gantlet
    from gantlet.core.errors import InputError, nearest

    folder = Path(gantlet.__file__).parents[2] / "bench"
    known = {p.stem: p for p in sorted(folder.glob("[a-z]*.py"))} if folder.is_dir() else {}
    if not known:
        raise InputError(
            f"the benchmarks are in the source checkout, {folder} is not there; clone it and install with -e"
        )
    if name not in known:
        raise InputError(f"no benchmark named {name!r}; {nearest(name, known)}")
    table: dict[str, Any] = _module(known[name]).measure(
        data=data, quick=quick, say=lambda text: typer.echo(text, err=True)
    )
    typer.echo(json_.dumps(table) if json else _module(known[name]).text(table))


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
