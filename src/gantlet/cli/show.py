"""gantlet show"""

from __future__ import annotations

import json as json_
from typing import Annotated

import typer


def show(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a run.")],
    changes: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    with_: Annotated[list[str] | None, typer.Option("--with", help="A module of yours that registers parts.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:
    """Every option of a recipe with its value, as YAML; what can be changed with KEY=VALUE."""
    from gantlet import api

    api.plug_in(with_ or [])
    found = api.base_recipe(recipe).override(*(changes or []))
    typer.echo(json_.dumps(found.tree) if json else found.to_yaml().rstrip())
