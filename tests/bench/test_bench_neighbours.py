"""bench neighbours, very small: what it computes is what the metrics say, and it measures time and memory."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

import neighbours as bench
from gantlet.cli import main
from gantlet.metrics.neighbours import density_coverage, precision_recall


def test_it_computes_what_the_metrics_say() -> None:
    real, fake = bench.sides(60, 8)
    said = precision_recall(real, fake, k=bench.K) | density_coverage(real, fake, k=bench.K)
    assert bench.ours(real, fake) == pytest.approx({key: said[key] for key in bench.ours(real, fake)})


def test_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "BOTH", (80,))
    heard: list[str] = []
    table = bench.measure(quick=True, say=heard.append)
    (row,) = table["rows"]
    assert row["n"] == 80 and row["seconds"] > 0 and 0 <= row["mib"] < bench.AIM_MIB
    assert set(row["scores"]) == {"precision", "recall", "density", "coverage"}
    assert table["prdc"] == ("ratio" in row) == (find_spec("prdc") is not None)
    assert table["prdc"] or any("prdc is not installed" in line for line in heard)
    assert "| 80 |" in bench.text(table) and "cores" in bench.text(table)


def test_it_has_its_own_data(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "neighbours", "--data", "digits"])
    assert "has its own data" in capsys.readouterr().err
