"""bench mnist, very short, on the digits of the package: both recipes are trained, judged, kept and shown."""

from __future__ import annotations

import pytest

import mnist
from gantlet.core.errors import InputError


def test_both_recipes_are_measured_once_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"IMAGES": 12 * 64 * 3, "SAMPLES": 60, "LEAST_ACCURACY": 0.5}.items():
        monkeypatch.setattr(mnist, name, value)
    said: list[str] = []
    table = mnist.measure(data="digits", quick=True, say=said.append)
    assert list(table["cells"]) == ["small", "small-labelled"]
    cells = [cell for recipe in table["cells"].values() for cell in recipe]
    assert all(cell["fd over floor"] > 1 for cell in cells)
    assert all(0 <= cell["confident"] <= 1 and cell["kl"] >= 0 for cell in cells)
    shown = mnist.text(table)
    assert "| `small-labelled` | **median** |" in shown
    assert shown.splitlines()[-1].startswith("| aim | | 4.00 | 0.0040")
    again: list[str] = []
    assert mnist.measure(data="digits", quick=True, say=again.append, cell=["small"])["cells"]["small"] == [cells[0]]
    assert not again
    with pytest.raises(InputError, match=r"--cell smal: no such cell; did you mean 'small'"):
        mnist.measure(data="digits", cell=["smal"])
    with pytest.raises(InputError, match="needs the data"):
        mnist.measure()
