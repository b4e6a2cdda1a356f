"""gantlet explore"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gantlet.cli.explored import Tools, class_of, images, loaded, numbers, write
from gantlet.core.errors import InputError, nearest

if TYPE_CHECKING:  # which loads torch
    from gantlet.explore import Directions

explore = typer.Typer(
    cls=Tools,
    help="Look into what a trained generator knows: gantlet explore RUN interpolate ...",
    invoke_without_command=True,
)

DRAWN = 20  # directions in one picture; --json has all

Out = Annotated[Path | None, typer.Option(help="A .png strip, a .gif, or an .mp4 (needs gantlet[video]).")]
Seed = Annotated[int, typer.Option(help="Latents follow from it.")]
Space = Annotated[str, typer.Option(help="z: latents; w: styles, where the generator has them.")]
Frames = Annotated[int, typer.Option(help="Pictures from one to the next.", min=1, max=10_000)]
Truncation = Annotated[float | None, typer.Option(help="As of gantlet sample.")]
Class = Annotated[str | None, typer.Option("--class", help="A class by number or name.")]
Fps = Annotated[int, typer.Option(help="Frames a second of a .gif or .mp4.", min=1, max=100)]
Loop = Annotated[bool, typer.Option("--loop", help="Back to the first, for an animation without an end.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or mps.")]
With = Annotated[list[str] | None, typer.Option("--with", help="A module of yours that registers parts.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")]


@explore.callback()
def opened(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run, a saved model, or a Hub id.")],
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    with_: With = None,
) -> None:
    """Look into what a trained generator knows."""
    group = context.command
    if context.invoked_subcommand is None and isinstance(group, Tools):
        raise InputError(group.fault(run, None))
    context.obj = (run, device, with_ or [])


@explore.command()
def interpolate(
    context: typer.Context,
    n: Annotated[int, typer.Option("-n", help="Samples to go through.", min=2)] = 5,
    seed: Seed = 0,
    seeds: Annotated[str | None, typer.Option(help="Instead the first sample of each of these: 3,17,42.")] = None,
    frames: Frames = 8,
    space: Space = "z",
    way: Annotated[str | None, typer.Option(help="slerp (in z) or lerp (in w).")] = None,
    loop: Loop = False,
    truncation: Truncation = None,
    class_: Class = None,
    fps: Fps = 20,
    out: Out = None,
    device: Device = None,
    with_: With = None,
    debug: Debug = False,
) -> None:
    """Walk from sample to sample."""
    from gantlet import explore as tools

    model = loaded(context, device, with_, out)
    chosen = None if seeds is None else [int(s) for s in numbers(seeds, "--seeds", int)]
    made = tools.interpolate(
        model, n=n, frames=frames, seed=seed, seeds=chosen, space=space, way=way, loop=loop, truncation=truncation,
        y=class_of(model, class_),
    )  # fmt: skip
    film = out is not None and out.suffix.lower() in (".gif", ".mp4")
    write(made.unsqueeze(0) if film else tools.by_leg(made, frames), out, "interpolate", fps)


@explore.command()
def mix(
    context: typer.Context,
    which: Annotated[str, typer.Option("--styles", help="coarse, middle or fine styles of A, in B.")] = "coarse",
    rows: Annotated[int, typer.Option(help="Sources A, on the left.", min=1)] = 4,
    columns: Annotated[int, typer.Option(help="Sources B, at the top.", min=1)] = 6,
    seed: Seed = 0,
    truncation: Truncation = None,
    class_: Class = None,
    out: Out = None,
    device: Device = None,
    with_: With = None,
    debug: Debug = False,
) -> None:
    """Mix the styles of samples."""
    from gantlet import explore as tools

    model = loaded(context, device, with_, out)
    y = class_of(model, class_)
    made = tools.mix(model, which=which, rows=rows, columns=columns, seed=seed, truncation=truncation, y=y)
    write(made, out, f"mix-{which}")


@explore.command()
def invert(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="IMAGES", help="An image, or a SOURCE of them: a folder, digits#test, an npz, ...")
    ],
    n: Annotated[int, typer.Option("-n", help="How many of them.", min=1)] = 8,
    space: Annotated[str, typer.Option(help="z, w, or w+ (styles of each layer).")] = "z",
    steps: Annotated[int, typer.Option(help="Of Adam.", min=1)] = 400,
    lr: Annotated[float, typer.Option(help="Its rate, falling to 0.")] = 0.1,
    restarts: Annotated[int, typer.Option(help="Starts for each image; the best is kept.", min=1)] = 8,
    features: Annotated[str | None, typer.Option(help="Also a distance in these: gantlet list features.")] = None,
    seed: Seed = 0,
    class_: Class = None,
    out: Out = None,
    json: Json = False,
    device: Device = None,
    with_: With = None,
    debug: Debug = False,
) -> None:
    """Find the codes of given images: above the images, below what the generator makes of their codes."""
    import torch

    from gantlet import explore as tools

    model = loaded(context, device, with_, out)
    x = images(model, source, n)
    found = tools.invert(
        model, x, space=space, steps=steps, lr=lr, restarts=restarts, features=features, seed=seed, y=class_of(model, class_)
    )  # fmt: skip
    facts = {"space": found.space, "psnr": found.psnr.tolist(), "codes": found.codes.tolist()}
    said = "PSNR " + ", ".join(f"{value:.1f}" for value in found.psnr.tolist()) + " dB"
    write(torch.stack([x, found.images]), out, "invert", told=(facts, said), json=json)


@explore.command()
def directions(
    context: typer.Context,
    method: Annotated[str, typer.Option(help="sefa (from the weights) or ganspace (from samples).")] = "sefa",
    k: Annotated[int, typer.Option("-k", help="How many.", min=1)] = 5,
    space: Annotated[str | None, typer.Option(help="z or w; w where there is one.")] = None,
    frames: Annotated[int, typer.Option(help="Pictures along each.", min=2)] = 7,
    reach: Annotated[float, typer.Option(help="Deviations to either side.", min=0)] = 3.0,
    seed: Seed = 0,
    class_: Class = None,
    fps: Fps = 20,
    out: Out = None,
    json: Json = False,
    device: Device = None,
    with_: With = None,
    debug: Debug = False,
) -> None:
    """Find directions in which samples change most; each row moves one sample along one of them."""
    from gantlet import explore as tools

    methods = {"sefa": tools.sefa, "ganspace": tools.ganspace}
    if method not in methods:
        raise InputError(f"--method {method}: no such method; {nearest(method, methods)}")
    model = loaded(context, device, with_, out)
    y = class_of(model, class_)
    found: Directions = methods[method](model, k=k, space=space, seed=seed, y=y)
    if len(found.vectors) < k:
        typer.echo(f"-k {k}: there are {len(found.vectors)} directions in {found.space}", err=True)
    if len(found.vectors) > DRAWN:
        typer.echo(f"of {len(found.vectors)} directions the picture shows the first {DRAWN}; --json has all", err=True)
    made = tools.show(model, found.first(DRAWN), frames=frames, reach=reach, seed=seed, y=y)
    facts = {name: getattr(found, name) for name in ("method", "space", "linear")}
    facts |= {name: getattr(found, name).tolist() for name in ("values", "share", "scale", "vectors")}
    said = f"{method} in {found.space}: " + ", ".join(f"{100 * share:.1f} %" for share in found.share.tolist())
    write(made, out, f"directions-{method}", fps, told=(facts, said), json=json)


@explore.command()
def classes(
    context: typer.Context,
    through: Annotated[list[str] | None, typer.Option("--class", help="Classes to go through; all without it.")] = None,
    n: Annotated[int, typer.Option("-n", help="Latents.", min=1)] = 4,
    frames: Frames = 4,
    seed: Seed = 0,
    loop: Loop = False,
    truncation: Truncation = None,
    fps: Fps = 20,
    out: Out = None,
    device: Device = None,
    with_: With = None,
    debug: Debug = False,
) -> None:
    """Morph samples from class to class."""
    from gantlet import explore as tools

    model = loaded(context, device, with_, out).truncated(truncation)
    stops = model.numbers_of(through) if through else list(range(model.game.classes))
    write(tools.morph(model, stops, frames=frames, n=n, seed=seed, loop=loop), out, "classes", fps)


@explore.command()
def truncation(
    context: typer.Context,
    values: Annotated[str | None, typer.Option(help="The truncations: 0.3,0.5,0.7,1.")] = None,
    frames: Frames = 8,
    n: Annotated[int, typer.Option("-n", help="Samples.", min=1)] = 6,
    seed: Seed = 0,
    fps: Fps = 20,
    out: Out = None,
    device: Device = None,
    with_: With = None,
    debug: Debug = False,
) -> None:
    """The same samples, less and less truncated."""
    from gantlet import explore as tools

    asked = None if values is None else numbers(values, "--values", float)
    write(
        tools.sweep(loaded(context, device, with_, out), values=asked, frames=frames, n=n, seed=seed),
        out,
        "truncation",
        fps,
    )


@explore.command()
def traverse(
    context: typer.Context,
    code: Annotated[int, typer.Option(help="The continuous code along the columns.", min=0)] = 0,
    categorical: Annotated[int, typer.Option(help="The categorical code down the rows.", min=0)] = 0,
    columns: Annotated[int, typer.Option(help="Values of the continuous code.", min=2)] = 10,
    span: Annotated[float, typer.Option(help="They go from -span to span; training from -1 to 1.", min=0)] = 2.0,
    seed: Seed = 0,
    fps: Fps = 20,
    out: Out = None,
    device: Device = None,
    with_: With = None,
    debug: Debug = False,
) -> None:
    """Walk along the codes of an InfoGAN."""
    from gantlet import explore as tools

    made = tools.traverse(
        loaded(context, device, with_, out), code=code, categorical=categorical, columns=columns, span=span, seed=seed
    )
    write(made, out, "traverse", fps)
