"""The diagnosis as one page: findings, the curves that show them, the numbers. Nothing is fetched when it is read.

Curves are drawn by uPlot (MIT, Leon Sorokin), which is in vendor/ and goes into the page whole. All text and numbers are
there without scripts too.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gantlet.doctor.diagnosis import Diagnosis, Finding, series
from gantlet.doctor.finding import Remedy, Sign
from gantlet.doctor.reading import band, readings
from gantlet.doctor.words import held, named, of_the_loss, verdict

HERE = Path(__file__).parent
ROWS = 12  # of a curve in figures
# a script cannot fetch anything either, should one ever try
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } th, td { text-align: left; padding: .2rem .8rem .2rem 0; vertical-align: top }
th { border-bottom: 1px solid #222 } td { border-bottom: 1px solid #ddd } h2 { margin-top: 2.2rem }
code { background: #f2f2f2; padding: .1rem .3rem; overflow-wrap: anywhere } figure { margin: 1.2rem 0 }
figcaption, summary, .small { color: #555; font-size: 13px } .verdict { font-size: 18px; font-weight: 600 }
.bad { border-left: 4px solid #b00020; padding-left: 1rem } .over { border-left: 4px solid #bbb; padding-left: 1rem }
"""


@dataclass
class _Curves:
    """What is drawn, in the order in which it stands on the page."""

    drawn: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self, diagnosis: Diagnosis, vital: str, title: str, low: float | None, high: float | None, first: int | None
    ) -> str:
        """A curve's place on the page with its figures; nothing for a vital that was not seen."""
        steps, values = series(diagnosis.windows, vital)
        if not steps:
            return ""
        curve = {"name": vital, "steps": steps, "values": values, "low": low, "high": high, "first": first}
        self.drawn.append(curve)
        said = f"; healthy: {band(low, high)} (shaded)" if band(low, high) else ""
        since = f"; the finding began at step {first}" if first is not None else ""
        caption = (
            f"{_text(title)} (<code>{_text(vital)}</code>): {values[0]:.4g} at step {steps[0]}, {values[-1]:.4g} at step "
            f"{steps[-1]}, between {min(values):.4g} and {max(values):.4g}{said}{since}"
        )
        return (
            f'<figure><div data-curve="{len(self.drawn) - 1}"></div><figcaption>{caption}</figcaption>'
            f"<details><summary>figures</summary>{_figures(steps, values)}</details></figure>"
        )


def page(diagnosis: Diagnosis, title: str, more: str = "") -> str:
    """The whole page; `more` is said after D's loss."""
    curves = _Curves()
    now = diagnosis.windows[-1].last if diagnosis.windows else 0
    over = [f for f in diagnosis.ordered if f.last < now]
    body = [
        f'<p class="verdict">{_text(verdict(diagnosis))}</p>',
        *(_finding(diagnosis, f, curves, now) for f in diagnosis.holding),
        "<h2>Seen before, and over</h2>" if over else "",
        *(_finding(diagnosis, f, curves, now) for f in over),
        f"<h2>D's loss</h2><p>{_text(of_the_loss(diagnosis))}</p>" if of_the_loss(diagnosis) else "",
        *(f"<p>{_text(line)}</p>" for line in more.splitlines()),
        _general(diagnosis, curves),
    ]
    about = f'<p class="small">Windows up to step {now}: {len(diagnosis.windows)}. A point is the mean of a window.</p>'
    script = f"{_own('vendor/uPlot.iife.min.js')}\n{_own('page.js')}" if curves.drawn else ""
    data = json.dumps(curves.drawn).replace("<", "\\u003c")  # nothing in it may end the script
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_own('vendor/uPlot.min.css')}{_STYLE}</style></head><body><h1>{_text(title)}</h1>{about}{''.join(body)}"
        f'<script type="application/json" id="curves">{data}</script><script>{script}</script></body></html>\n'
    )


def write_page(diagnosis: Diagnosis, title: str, out: Path, more: str = "") -> Path:
    """The page in a file, `index.html` of a folder where no .html is named; where it is."""
    file = out if out.suffix.lower() in (".html", ".htm") else out / "index.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page(diagnosis, title, more), encoding="utf-8")
    return file


def _finding(diagnosis: Diagnosis, finding: Finding, curves: _Curves, now: int) -> str:
    """A finding with its evidence, why it happens, what to do, and the curves that show it."""
    sign, holds = finding.sign, finding.last >= now
    shown = dict.fromkeys((m.vital, m.behind, *m.bounds) for m in sign.measures if m.vital)
    drawn = [curves.add(diagnosis, vital, name, low, high, finding.first) for vital, name, low, high in shown]
    return (
        f'<section id="{_text(finding.name)}" class="{"bad" if holds else "over"}"><h2>{_text(named(finding))}</h2>'
        f'<p class="small">{_text(finding.detector.rank)}; {_text(held(finding, now))}</p>'
        f"<p>{_text(finding.what)}</p>{_evidence(sign)}<p>Why: {_text(finding.why)}</p>"
        f"{_remedies(finding.remedies)}{''.join(drawn)}</section>"
    )


def _evidence(sign: Sign) -> str:
    rows = [(m.name, f"{m.value:.4g}", band(m.low, m.high)) for m in sign.measures]
    return _table(("what shows it", "value", "healthy"), rows) if rows else ""


def _remedies(remedies: Sequence[Remedy]) -> str:
    """In the order in which to try them."""
    if not remedies:
        return ""
    lines = []
    for remedy in remedies:
        options = f"<code>{_text(' '.join(remedy.change))}</code>: " if remedy.change else ""
        source = f" ({_text(remedy.source)})" if remedy.source else ""
        lines.append(f"<li>{options}{_text(remedy.text)}{source}</li>")
    return f"<p>What to try, one at a time:</p><ol>{''.join(lines)}</ol>"


def _general(diagnosis: Diagnosis, curves: _Curves) -> str:
    """The chief vitals in words, then losses and gradients, whatever was found."""
    read = readings(diagnosis)
    if not diagnosis.windows:
        return ""
    said = "".join(f"<li>{_text(r.text)}{'' if r.inside else ' - unusual'}</li>" for r in read)
    drawn = [curves.add(diagnosis, r.vital, r.title, r.low, r.high, None) for r in read]
    names = dict.fromkeys(name for window in diagnosis.windows for name in window.values)
    terms = [n for n in names if ".term." in n and not n.endswith(".std")]
    norms = [n for n in names if n.endswith(".gradient")]
    drawn += [curves.add(diagnosis, n, "loss term", None, None, None) for n in terms]
    drawn += [curves.add(diagnosis, n, "norm of the gradient", None, None, None) for n in norms]
    return f"<h2>Vitals</h2><ul>{said}</ul>{''.join(drawn)}"


def _figures(steps: Sequence[int], values: Sequence[float]) -> str:
    """Some of the points, evenly spaced, the last among them."""
    pace = max(1, -(-len(steps) // ROWS))
    chosen = [*range(0, len(steps) - 1, pace), len(steps) - 1]
    return _table(("step", "value"), [(str(steps[i]), f"{values[i]:.6g}") for i in chosen])


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{_text(cell)}</th>" for cell in heading)
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _own(name: str) -> str:
    """A file that came with the package."""
    return (HERE / name).read_text(encoding="utf-8")


def _text(value: str) -> str:
    return html.escape(value)
