"""Reports: what is written is what is read, and an edited one is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from digit_rows import Digits

from gantlet.core.errors import InputError
from gantlet.metrics import EvaluationReport, Kept, evaluate
from gantlet.metrics.features import build
from gantlet.metrics.page import NEIGHBOURS, SHOWN, nearest, write_page


@pytest.fixture(scope="module")
def report(digits: Digits) -> EvaluationReport:
    said = {"real": {"source": "<digits>"}}
    return evaluate(digits.cut(0, 600), digits.cut(600, 900), held_out=digits.cut(900, 1100), facts=said,
                    subject={"name": "a <model>"})  # fmt: skip


def test_a_report_survives_its_file(report: EvaluationReport, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text(json.dumps(report.to_json(), allow_nan=False))
    back = EvaluationReport.load(file)
    assert back == report and back.fingerprint == report.fingerprint
    data = report.to_json()
    data["protocol"]["real"]["count"] = 10**6
    with pytest.raises(InputError, match="edited"):
        EvaluationReport.from_json(data)
    with pytest.raises(InputError, match="no evaluation"):
        EvaluationReport.from_json({})
    file.write_text("{")
    with pytest.raises(InputError, match="no report can be read"):
        EvaluationReport.load(file)
    with pytest.raises(InputError, match="no score 'fid'; it has FD-raw"):
        report.score("fid")
    with pytest.raises(InputError, match="it has fd"):
        report["kd"]


def test_the_table_holds_value_interval_and_floor(report: EvaluationReport) -> None:
    heading, row = report.table()
    score = report.score("fd")
    assert score.interval is not None and score.floor is not None and score.at_floor_count is not None
    assert row[0] == "FD-raw" and row[1] == f"{score.value:.4g}"
    for number in (score.interval.low, score.interval.high):
        assert f"{number:.4g}" in row[2]
    for number in (score.floor, score.at_floor_count):
        assert f"{number:.4g}" in row[3]
    assert len(heading) == len(row) and any(report.fingerprint in line for line in report.lines())


def test_the_page_shows_each_sample_beside_its_nearest_reals(
    report: EvaluationReport, digits: Digits, tmp_path: Path
) -> None:
    real, raw = digits.cut(0, 600), build("raw", lambda: digits.spec)
    fake = Digits(real.x[[5, 17]] + 0.01, None)
    found = nearest(Kept(real), Kept(fake), raw)
    assert found is not None and len(found) == 2 * (2 + NEIGHBOURS) <= SHOWN * (2 + NEIGHBOURS)
    assert torch.equal(found[0], fake.x[0]) and torch.equal(found[2], real.x[5])
    assert bool((found[1] == 1).all()) and torch.equal(found[2 + NEIGHBOURS + 2], real.x[17])
    page = write_page(report, tmp_path / "page", found)
    text = page.read_text()
    assert "a &lt;model&gt;" in text and "<model>" not in text and "data:image/png" in text
    assert report.fingerprint in text and (page.parent / "neighbours.png").is_file()
    assert EvaluationReport.load(page.parent / "report.json") == report
    assert nearest(Kept(torch.randn(9, 2)), Kept(torch.randn(9, 2)), raw) is None
