"""bench dirac: what it prints and draws (its numbers are tested in tests/core/test_dirac.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dirac
from dirac_picture import Panel, draw


def test_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dirac, "FORMULAS", [c for c in dirac.FORMULAS if c.name.startswith(("non-sat", "R1 1,"))])
    shown = dirac.text(dirac.measure(quick=True))
    assert "| non-saturating, simultaneous | ±iw | 1.00125 | 1.00125 | diverges |" in shown
    assert "| non-saturating, alternating | ±iw | 1.00000 | 1.00000 | circles |" in shown
    assert "| R1 1, alternating |" in shown and "0.96000 | 0.96000 | converges |" in shown


def test_everything_drawn_has_its_case() -> None:
    assert set(dirac.DRAWN) <= {case.name for case in dirac.FORMULAS}


def test_the_picture(tmp_path: Path) -> None:
    """One row of panels: a path that converges is blue, one that does not is not, one that leaves the panel is cut."""
    turn = torch.linspace(0, 6, 50, dtype=torch.float64)
    circle = torch.stack([turn.cos(), turn.sin()], 1)
    panels = [Panel("in", "", True, circle), Panel("round", "", False, circle), Panel("out", "", False, 9 * circle)]
    draw(panels, tmp_path / "a" / "x.png", columns=3)
    with Image.open(tmp_path / "a" / "x.png") as image:
        width, height = image.size
        parts = [image.convert("RGB").crop((i * width // 3, 0, (i + 1) * width // 3, height)) for i in range(3)]
    seen = [np.asarray(part, dtype=np.int64) for part in parts]
    bluest, reddest = ([int((p[..., c] - p[..., 2 - c]).max()) for p in seen] for c in (2, 0))
    assert bluest[0] > 50 > reddest[0] and reddest[1] > 50 > bluest[1]
    assert reddest[2] < 50, "outside there is nothing to see"
