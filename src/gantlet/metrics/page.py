"""A page that shows what the scores are of: the table, the protocol, samples beside their nearest real neighbours."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path

import torch
from torch import Tensor

from gantlet.data import save_picture
from gantlet.metrics.features import Features, matrix_of
from gantlet.metrics.report import EvaluationReport
from gantlet.metrics.sources import Kept, Rows

SHOWN, NEIGHBOURS = 12, 7
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .3rem .6rem; vertical-align: top }
th { border-bottom: 2px solid #222 } td { border-bottom: 1px solid #ddd } img { max-width: 100%; image-rendering: pixelated }
pre { background: #f5f5f5; padding: 1rem; overflow: auto; font-size: 13px } .warning { color: #a00; font-weight: 600 }
"""


def nearest(real: Kept, fake: Kept, features: Features, *, batch: int = 256) -> Tensor | None:
    """Some fakes, each with a white gap and its nearest reals in feature space: images [rows * (2 + k), C, H, W] in -1..1.

    None where either side cannot be read by number or is not of images.
    """
    reals, fakes = real.source, fake.source
    if not (isinstance(reals, Rows) and isinstance(fakes, Rows)) or len(reals.spec.shape) != 3:
        return None
    if reals.spec.shape != fakes.spec.shape:
        return None
    chosen = fake.some(min(SHOWN, len(fakes))).index
    x, y = matrix_of(real, features, batch=batch), matrix_of(fake, features, batch=batch)[chosen]
    found = torch.cdist(y.double(), x.double()).topk(min(NEIGHBOURS, len(x)), largest=False).indices.cpu()
    rows = []
    for i, own in zip(chosen, found, strict=True):
        made = fakes.rows(i.view(1)).x
        rows += [made, torch.ones_like(made), reals.rows(own).x]
    return torch.cat(rows)


def write_page(report: EvaluationReport, folder: Path, neighbours: Tensor | None) -> Path:
    """report.json, neighbours.png and index.html (which holds the picture too) in a folder; where the page is."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
    picture = ""
    if neighbours is not None:
        file = save_picture(neighbours, folder / "neighbours.png", cols=2 + NEIGHBOURS)
        data = base64.b64encode(file.read_bytes()).decode()
        picture = (
            "<h2>Samples and their nearest real neighbours</h2><p>Each row: a sample, then the reals nearest to it in "
            f'feature space, the nearest first.</p><img alt="samples and neighbours" src="data:image/png;base64,{data}">'
        )
    page = folder / "index.html"
    page.write_text(_html(report, picture), encoding="utf-8")
    return page


def _html(report: EvaluationReport, picture: str) -> str:
    heading, *rows = report.table()
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in heading)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    said = [f"<p{_kind(line)}>{html.escape(line)}</p>" for line in report.lines()]
    notes = "".join(f"<p>[{i}] {html.escape(note)}</p>" for i, note in enumerate(report.notes(), 1))
    title = html.escape(f"Evaluation of {report.subject.get('name', 'samples')}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>'
        f"<body><h1>{title}</h1>{''.join(said)}<table><tr>{cells}</tr>{body}</table>"
        f"{notes}<p>The floor is what held-out real samples score in the fakes' place: the best that can be expected. Where "
        "they are fewer than the fakes, the score of as few fakes stands beside it. An interval (95 %) is where the average "
        "score of fresh samples of the same number lies.</p>"
        f"{picture}<h2>Protocol {report.fingerprint}</h2>"
        f"<pre>{html.escape(json.dumps(report.protocol, indent=1))}</pre></body></html>\n"
    )


def _kind(line: str) -> str:
    return ' class="warning"' if line.startswith("warning") else ""
