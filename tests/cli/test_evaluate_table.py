"""The table of `gantlet evaluate`: no name is broken, whatever the terminal's width."""

from __future__ import annotations

import pytest

from gantlet.cli.evaluate import _show
from gantlet.metrics.interval import Interval
from gantlet.metrics.report import EvaluationReport, Score

NAMES = ("FD-thumbnail", "Precision-thumbnail", "Precision-mobilenetv2", "High-frequency excess, dB", "class KL")
LONG = "Nearer to the reference-thumbnail"


def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int) -> str:
    """A report with long numbers everywhere, as a terminal of so many columns shows it."""
    reach = Interval(-0.000123456, 0.00098765, "own")
    x = -0.000123456
    scores = [
        Score("m", "k", name, x, "neither", reach, x, reach, 1000, 300, x, f"note {i}")
        for i, name in enumerate((*NAMES, LONG))
    ]
    monkeypatch.setenv("COLUMNS", str(width))
    _show(EvaluationReport(tuple(scores), {"real": {"count": 1000}, "fake": {"count": 1000}}))
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [40, 80, 100, 150])
def test_names_are_whole_at_any_width(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With their mark; one of several words that is too long goes on below after a whole word."""
    lines = shown(monkeypatch, capsys, width).splitlines()
    for i, name in enumerate(NAMES, 1):
        assert any(line.startswith((f"{name} [{i}]", f"{name}\N{NO-BREAK SPACE}[{i}]")) for line in lines), name
    words = [line.split("  ")[0] for line in lines]
    assert any(LONG in word for word in words) == (width >= 110)
    assert any("reference-thumbnail" in word for word in words)


def test_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """At 80 columns every number is there, whole, and so is the way that is better."""
    said = shown(monkeypatch, capsys, 80)
    table = said[said.index("score ") : said.index("[1] note")]
    assert max(map(len, said.splitlines())) <= 80
    assert table.count("neither") == 6 and table.count("-0.0001235") >= 6 * 3 and table.count("0.0009877") >= 6
