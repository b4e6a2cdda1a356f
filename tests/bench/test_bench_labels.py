"""bench labels, very short, on the digits of the package."""

from __future__ import annotations

from pathlib import Path

import pytest

import labels
from gantlet.core.errors import InputError


def test_a_cell_is_trained_judged_kept_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTLET_CACHE", str(tmp_path))
    said: list[str] = []
    table = labels.measure(data="digits", quick=True, say=said.append, cell=["purity/1", "few"])
    kinds = {cell["kind"]: cell for cell in table["cells"]}
    assert set(kinds) == {"purity", "few"} and kinds["purity"]["seed"] == 1
    assert all(0 <= cell["value"] <= 1 and cell["interval"][0] <= cell["value"] for cell in kinds.values())
    shown = labels.text(table)
    assert "| purity | `infogan " in shown and "| error-rate | `small-semi`" in shown
    said.clear()
    again = labels.measure(data="digits", quick=True, say=said.append, cell=["few"])
    assert again["cells"] == table["cells"] and not said  # kept


def test_cells_have_names() -> None:
    assert [seed for kind, seed in labels.chosen(["codes"])] == [0, 1, 2, 3, 4]
    assert labels.chosen(["few", "purity/2", "few/0"]) == [("few", 0), ("purity", 2)]
    with pytest.raises(InputError, match=r"--cell purity/5: no such cell"):
        labels.chosen(["purity/5"])
    with pytest.raises(InputError, match=r"--cell fewer: no such cell.*few"):
        labels.chosen(["fewer"])
    with pytest.raises(InputError, match=r"needs labelled images"):
        labels.measure()
