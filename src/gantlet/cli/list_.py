"""gantlet list"""

from __future__ import annotations

import json as json_
from typing import Annotated

import typer


def list_(
    kind: Annotated[str | None, typer.Argument(help="penalties, dynamics, generators, ...; recipes without it.")] = None,
    with_: Annotated[list[str] | None, typer.Option("--with", help="A module of yours that registers parts.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:  # fmt: skip
    """What there is: recipes, or the parts of one kind, each with its formula and paper."""
    from gantlet import api
    from gantlet.core import registry
    from gantlet.core.errors import InputError, nearest

    api.plug_in(with_ or [])
    kinds = registry.KINDS
    names = {k: k for k in kinds} | {of.plural: k for k, of in kinds.items()}
    wanted = names.get(kind or "recipe")
    if wanted is None:
        raise InputError(f"no kind of part named {kind!r}; {nearest(str(kind), names)}")
    parts = kinds[wanted].parts
    if json:
        typer.echo(json_.dumps({name: part.doc for name, part in parts.items()}))
        return
    width = max((len(name) for name in parts), default=0)
    for name, part in parts.items():
        typer.echo(f"{name:<{width}}  {part.doc}")
    if wanted == "dynamics":  # half of how a game moves is how each player does
        typer.echo("\nand by each player's optimizer (players.G.use=...):")
        for name, part in kinds["optimizer"].parts.items():
            typer.echo(f"{name:<{width}}  {part.doc}")
    if kind is None:
        typer.echo(f"\nother kinds: {', '.join(k for k in kinds if k != 'recipe')}")
