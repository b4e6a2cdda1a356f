"""gantlet evaluate"""

from __future__ import annotations

import json as json_
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:  # which loads torch
    from gantlet.metrics.report import EvaluationReport, Score


def evaluate(
    what: Annotated[str, typer.Argument(help="A run, a saved model, a Hub id, or samples: a folder, zip, npy, ...")],
    how: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="size=, channels=, fit=, bad_files= of images.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="The real data; without it what the run was trained on.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Names with commas; gantlet list metrics shows them.")] = None,
    features: Annotated[str | None, typer.Option(help="self, inception, mobilenetv2, ...: gantlet list features.")] = None,
    n: Annotated[int | None, typer.Option("-n", "--n", help="Samples in a set.", min=2)] = None,
    seeds: Annotated[int | None, typer.Option(help="Independent sets of a generator.", min=1)] = None,
    reference: Annotated[int | None, typer.Option(help="Rows of the real data at most.", min=2)] = None,
    weights: Annotated[str, typer.Option(help="averaged, or best: what scored best on the way.")] = "averaged",
    truncation: Annotated[float | None, typer.Option(help="Judge truncated samples; see gantlet sample.")] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for report.json and a page.")] = None,
    against: Annotated[Path | None, typer.Option(help="Another report.json: are the two comparable?")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    with_: Annotated[list[str] | None, typer.Option("--with", help="A module of yours that registers parts.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:  # fmt: skip
    """Score a generator, or a folder of samples: every number with its interval, its floor and its protocol."""
    from gantlet import api
    from gantlet.metrics.report import EvaluationReport
    from gantlet.runs.evaluation import HOW, Evaluation, Wanted

    api.plug_in(with_ or [])
    other = None if against is None else EvaluationReport.load(against)

    def say(text: str) -> None:
        typer.echo(text, err=True)

    names = None if metrics is None else [name.strip() for name in metrics.split(",") if name.strip()]
    wanted = Wanted(features=features, metrics=names, n=n, seeds=seeds, weights=weights, reference=reference,
                    truncation=truncation, device=device, how=_how(how or [], HOW))  # fmt: skip
    made = Evaluation(data, what, wanted, say)
    page = made.write(out)
    if json:
        typer.echo(json_.dumps(made.report.to_json()))
    else:
        _show(made.report)
    if other is not None:
        _compare(other, made.report, err=json)
    if json:
        return
    if page is not None:
        typer.echo(f"page: {page}")


def _how(changes: list[str], known: tuple[str, ...]) -> dict[str, object]:
    """KEY=VALUE as values; InputError for other keys."""
    import yaml

    from gantlet.core.errors import InputError, nearest

    found: dict[str, object] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or key not in known:
            raise InputError(f"{change}: not KEY=VALUE of opening images; {nearest(key, known)}")
        found[key] = yaml.safe_load(value)
    return found


NARROW, NAME = 80, 29  # columns; letters of a name, which there goes on below, after a whole word


def _show(report: EvaluationReport) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    console = Console()
    console.width = max(console.width, NARROW)  # of what is narrower still, cells would be cut off
    for line in report.lines():
        console.print(line, style="bold red" if line.startswith("warning") else None, highlight=False)
    heading, *rows = report.table()
    whole = {"score", "value", "better"}  # beside them 80 columns hold 13 letters of each of the others
    columns = [Column(head, no_wrap=head in whole, min_width=0 if head in whole else 13) for head in heading]
    table = Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name, *row in rows:
        table.add_row(Text(_in_words(name, NAME if console.width < NARROW + 30 else console.width)), *row)
    console.print(table)
    for i, note in enumerate(report.notes(), 1):
        console.print(f"\\[{i}] {note}", highlight=False)


def _in_words(name: str, most: int) -> str:
    """In lines that end after a word; the mark of a note stays with the last one."""
    kept = name.replace(" [", "\N{NO-BREAK SPACE}[")
    return "\n".join(textwrap.wrap(kept, most, break_long_words=False, break_on_hyphens=False))


def _compare(other: EvaluationReport, mine: EvaluationReport, *, err: bool) -> None:
    from gantlet.metrics.report import compare

    differs = compare(other, mine)
    if differs:
        typer.echo(f"not comparable with {other.fingerprint}: the protocols differ in", err=err)
        for line in differs:
            typer.echo(f"  {line}", err=err)
        return
    typer.echo(f"comparable with {other.subject.get('name')}: the same protocol {mine.fingerprint}", err=err)
    for score in mine.scores:
        was = next((s for s in other.scores if (s.metric, s.key) == (score.metric, score.key)), None)
        if was is not None and was.value is not None and score.value is not None:
            typer.echo(f"  {score.name}: {was.value:.4g} -> {score.value:.4g}{_apart(was, score)}", err=err)


def _apart(a: Score, b: Score) -> str:
    if a.interval is None or b.interval is None:
        return ""
    return "" if a.interval.high < b.interval.low or b.interval.high < a.interval.low else " (the intervals overlap)"
