"""The commands together, and how errors leave."""

from __future__ import annotations

import os
import sys
import traceback

import typer

import gantlet
from gantlet.cli import bench, data, diagnose, evaluate, explore, list_, sample, show, train
from gantlet.core.errors import GantletError
from gantlet.core.making import blamed
from gantlet.core.registry import KINDS

# typer brings a click of its own in some versions and uses the installed one in others: ask it
UsageError: type[Exception] = typer.BadParameter.__mro__[1]
ClickException: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="gantlet",
    help="Adversarial training that converges, and says exactly why when it does not.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gantlet {gantlet.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Adversarial training that converges, and says exactly why when it does not."""


app.command("train")(train.train)
app.command("sample")(sample.sample)
app.command("evaluate")(evaluate.evaluate)
app.command("diagnose")(diagnose.diagnose)
app.add_typer(explore.explore, name="explore")
app.command("data")(data.data)
app.command("list")(list_.list_)
app.command("show")(show.show)
app.command("bench")(bench.bench)


def run(arguments: list[str]) -> int:
    """Exit status of a command; errors go to stderr in a few lines, a traceback only with --debug."""
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    try:
        status = app(arguments, standalone_mode=False)
        return status if isinstance(status, int) else 0
    except typer.Exit as leave:
        return leave.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return _say("stopped", 130)
    except UsageError as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "gantlet"
        plain = command.replace("{", "").replace("}", "")  # around RUN: it is to be typed
        return _say(f"{_message(error)} (see: {plain} --help)", 2)
    except ClickException as error:
        return _say(_message(error), 1)
    except BrokenPipeError:  # the reader of our output left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if debug:
            traceback.print_exc()
        return _say(f"{error.filename or 'writing'}: {error.strerror or error}", 1)
    except GantletError as error:
        if debug:
            traceback.print_exc()
        return _say(str(error), error.status)
    except Exception as error:  # noqa: BLE001 (a fault of ours: said in one line, shown whole with --debug)
        if debug:
            traceback.print_exc()
        where = blamed(error, (part for kind in KINDS.values() for part in kind.parts.values()))
        return _say(f"{where or f'internal error: {type(error).__name__}: {error}'}; --debug shows all of it", 1)


def _message(error: BaseException) -> str:
    return str(error.format_message()) if hasattr(error, "format_message") else str(error)


def _say(text: str, status: int) -> int:
    typer.echo(
        "\n".join(f"gantlet: {line}" if i == 0 else f"  {line}" for i, line in enumerate(text.splitlines())), err=True
    )
    return status
