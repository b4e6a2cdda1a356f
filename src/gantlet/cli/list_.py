"""gantlet list"""

from __future__ import annotations

import json as json_
from typing import Annotated, Any

import typer


def list_(
    kind: Annotated[str | None, typer.Argument(help="penalties, dynamics, generators, ...; recipes without it.")] = None,
    with_: Annotated[list[str] | None, typer.Option("--with", help="A module of yours that registers parts.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:  # fmt: skip
    """What there is: recipes by family, or the parts of one kind, each with its formula and paper."""
    from gantlet import api
    from gantlet.core import registry
    from gantlet.core.errors import InputError, nearest
    from gantlet.recipes.measured import facts_of

    api.plug_in(with_ or [])
    kinds = registry.KINDS
    names = {k: k for k in kinds} | {of.plural: k for k, of in kinds.items()}
    wanted = names.get(kind or "recipe")
    if wanted is None:
        raise InputError(f"no kind of part named {kind!r}; {nearest(str(kind), names)}")
    docs = {name: part.doc for name, part in kinds[wanted].parts.items()}
    if wanted == "recipe":
        facts = {name: {"about": doc, **facts_of(name)} for name, doc in docs.items()}
        if json:
            typer.echo(json_.dumps(facts))
            return
        _recipes(facts)
    elif json:
        typer.echo(json_.dumps(docs))
        return
    else:
        _parts(docs)
    if wanted == "dynamics":  # half of how a game moves is how each player does
        typer.echo("\nand by each player's optimizer (players.G.use=...):")
        _parts({name: part.doc for name, part in kinds["optimizer"].parts.items()})
    if kind is None:
        typer.echo(f"\nother kinds: {', '.join(k for k in kinds if k != 'recipe')}")


def _parts(docs: dict[str, str]) -> None:
    width = max((len(name) for name in docs), default=0)
    for name, doc in docs.items():
        typer.echo(f"{name:<{width}}  {doc}")


OWN = "yours"  # the family of recipes that say nothing of themselves


def _recipes(facts: dict[str, dict[str, Any]]) -> None:
    """A row a recipe, by family and year."""
    from rich.console import Console
    from rich.table import Column, Table

    console = Console()
    console = console if console.is_terminal else Console(width=140)
    table = Table(
        "recipe", "year", Column("what one takes it for", overflow="fold"), "paper",
        *((Column("weights", justify="right"), "measured") if any(f["measured"] for f in facts.values()) else ()),
        box=None, pad_edge=False,
    )  # fmt: skip
    first: dict[str, int] = {}  # year of each family's first member
    for f in facts.values():
        family = f.get("family", OWN)
        first[family] = min(first.get(family, 9999), f.get("year", 9999))
    chooses = facts.get("auto", {}).get("family")  # what one begins with stands first
    for family in sorted(first, key=lambda name: (name != chooses, first[name])):
        table.add_row(f"[bold]{family}[/bold]")
        mine = [(n, f) for n, f in facts.items() if f.get("family", OWN) == family]
        for name, f in sorted(mine, key=lambda pair: pair[1].get("year", 0)):
            scored = [] if len(table.columns) < 6 else _score(f["measured"])
            table.add_row(f"  {name}", str(f.get("year", "")), f.get("use", f["about"]), f.get("paper", ""), *scored)
    console.print(table)
    if len(table.columns) > 5:
        console.print(
            "\nmeasured: how many times nearer to the data (kernel distance in MobileNetV2's features) than an untrained "
            "generator or the mean image after so many minutes; weights: of what generates, there. See docs/zoo.md.",
            highlight=False,
        )
    console.print("\ngantlet show NAME: every option of a recipe.", highlight=False)


def _score(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return ["", ""]
    said = f"{found['times']:.3g} x on {found['set']}, {found['minutes']:g} min"
    return [f"{found['weights'] / 1e6:.2f} M", said if found["works"] else f"{said}: does not work"]
