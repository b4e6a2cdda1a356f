"""What the tools of gantlet explore share: how they are called, the model, the images, the picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from gantlet.core.errors import InputError, nearest

if TYPE_CHECKING:  # which loads torch
    from torch import Tensor

    from gantlet.runs.model import Model


class Tools(TyperGroup):
    """A group that says what it is called with: the run, then a tool."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args:
            raise InputError(f"explore: name a run and a tool; {self.usage()}")
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands:
            raise InputError(self.fault(str(ctx.params.get("run", "")), args[0]))
        return super().resolve_command(ctx, args)

    def usage(self) -> str:
        return f"gantlet explore RUN TOOL, where TOOL is {', '.join(self.commands)}"

    def fault(self, run: str, tool: str | None) -> str:
        """What is wrong with a call without a tool that is known."""
        if run in self.commands and not Path(run).exists():
            return f"explore {run}: the run comes first; {self.usage()}"
        if tool is None:
            return f"explore {run}: name a tool; {self.usage()}"
        if tool.startswith("-"):
            return f"explore {run} {tool}: options come after the tool; {self.usage()}"
        return f"explore {run} {tool}: no tool named {tool!r}; {nearest(tool, self.commands)} {self.usage()}"


def loaded(context: typer.Context, device: str | None, modules: list[str] | None, out: Path | None) -> Model:
    """The model, once it is sure that its picture can be written; options may stand before the tool or behind it."""
    from gantlet import api
    from gantlet.explore.frames import check

    if out is not None:
        check(out)
    run, before, added = context.obj
    api.plug_in([*added, *(modules or [])])
    return api.load(run, device=device or before)


def class_of(model: Model, name: str | None) -> int | None:
    return None if name is None else model.numbers_of(name)[0]


def numbers(text: str, option: str, kind: type) -> list[Any]:
    """1,2,3 as numbers; InputError for anything else."""
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"{option} {text}: numbers with commas are wanted, such as 1,2,3") from error


def images(model: Model, source: str, n: int) -> Tensor:
    """The first n images of a SOURCE, or the one in an image file, as the model makes them."""
    import torch

    from gantlet.data import open_source, to_unit
    from gantlet.data.decode import EXTENSIONS
    from gantlet.explore.space import pictures_only

    pictures_only(model, "invert")
    c, *size = model.spec.shape
    path = Path(source)
    if path.is_file() and path.suffix.lower() in EXTENSIONS:
        return to_unit(torch.from_numpy(_pixels(path, size, c))).unsqueeze(0)
    data = open_source(
        source, split="all", size=(size[0], size[1]), channels=c, say=lambda text: typer.echo(text, err=True)
    )
    return data.rows(torch.arange(min(n, len(data)))).x


def _pixels(path: Path, size: list[int], channels: int) -> Any:
    """One image file as a data set would have it, [C, H, W]."""
    from collections import Counter

    from gantlet.data.decode import UNREADABLE, look, picture
    from gantlet.data.pictures import Request, plan_for

    data = path.read_bytes()
    try:
        plan = plan_for(str(path), Counter([look(data)]), Request((size[0], size[1]), channels), lambda text: None)
        return plan(picture(data))
    except UNREADABLE as error:
        raise InputError(f"{path}: this image cannot be read: {error}") from error


def write(
    rows: Tensor, out: Path | None, name: str, fps: int = 20, *,
    told: tuple[dict[str, Any], str] | None = None, json: bool = False,
) -> None:  # fmt: skip
    """The picture, and where it is; `told` are facts for --json and the same in words."""
    import json as json_

    from gantlet.explore import write as written

    path = written(rows, out or Path(f"{name}.png"), fps=fps)
    if told is not None and json:
        typer.echo(json_.dumps({**told[0], "picture": str(path)}))
        return
    if told is not None:
        typer.echo(told[1])
    typer.echo(str(path))
