"""bench combinations, a handful of pairs: what is measured, kept, told apart and shown."""

from __future__ import annotations

from pathlib import Path

import pytest

import combinations
from combinations import QUICK, plan
from gantlet.cli import main
from gantlet.core.errors import InputError
from parts import NEEDS, ON_IMAGES, PARTS, meets

PENALTIES = "| penalty × penalty | 1 | 1 | 0 | 0 | 1 (100.0%) |"


def test_every_pair_that_may_meet_is_in_one_cell() -> None:
    cells = list(plan(PARTS, 1))
    found = [(c.first, other) for c in cells for other in c.others]
    wanted = {(a, b) for i, a in enumerate(PARTS) for b in PARTS[i + 1 :] if meets(a, b)}
    assert len(found) == len(wanted) and set(found) == wanted
    assert len({c.label for c in cells}) == len(cells)
    assert set(NEEDS) | ON_IMAGES | set(QUICK) <= set(PARTS)


def test_cells_are_measured_once_and_shown(cache: Path) -> None:
    said: list[str] = []
    part = combinations.measure(quick=True, cell=["penalty"], say=said.append)
    assert [c["label"] for c in part["cells"]] == ["penalty/r1", "penalty/r2"] and len(said) == 2
    assert PENALTIES in combinations.text(part) and "2 of 5 cells" in combinations.text(part)

    table = combinations.measure(quick=True, say=said.append)
    shown = combinations.text(table)
    assert len(said) == 5 and "5 of 5 cells" in shown and PENALTIES in shown
    pairs = [pair for c in table["cells"] for pair in c["pairs"]]
    assert (
        len(pairs) == 15
        and f"| **all** | 15 | 14 | 1 | 0 | {sum(map(combinations.nearer, pairs_that_train(pairs)))} (" in shown
    )
    assert {p["data"] for p in pairs_that_train(pairs) if "trick/ada" in (p["a"], p["b"])} == {"digits"}
    assert {p["data"] for p in pairs_that_train(pairs) if "trick/ada" not in (p["a"], p["b"])} == {
        "toy:ring?sigma=0.05"
    }
    assert "- trick/label-flipping with loss/relativistic: tricks.label-flipping: this loss has no labels" in shown
    assert combinations.measure(quick=True, say=said.append) == table and len(said) == 5


def pairs_that_train(pairs: list[dict[str, object]]) -> list[dict[str, object]]:
    return [pair for pair in pairs if "ended" in pair]


def test_no_time_is_no_cell_and_no_fault() -> None:
    table = combinations.measure(quick=True, minutes=0, say=print)
    assert table["cells"] == [] and "| **all** | 0 | 0 | 0 | 0 |  |" in combinations.text(table)


def test_what_diverges_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NEEDS, ("penalty", "r1"), ["players.G.lr=1e30", "players.D.lr=1e30"])
    table = combinations.measure(quick=True, cell=["penalty/r1"], say=lambda text: None)
    assert {next(iter(p.keys() & {"failed", "ended"})) for p in table["cells"][0]["pairs"]} == {"failed"}
    shown = combinations.text(table)
    assert "Not finite:" in shown and "- penalty/r1 with penalty/r2: step " in shown
    assert "| penalty × penalty | 1 | 0 | 0 | 1 |  |" in shown


def test_what_is_not_nearer_is_named_under_the_part_that_has_most() -> None:
    pairs = [
        {"a": "loss/kl", "b": "penalty/r1", "data": "", "begun": 0.5, "ended": 0.75},
        {"a": "loss/kl", "b": "trick/ada", "data": "", "begun": 0.5, "ended": 0.5},
        {"a": "loss/hinge", "b": "trick/ada", "data": "", "begun": 0.5, "ended": 0.25},
    ]
    table = {"machine": combinations.machine(), "of": 3, "steps": 30, "cells": [{"pairs": pairs}]}
    shown = combinations.text(table)
    assert "- loss/kl with penalty/r1 (0.5 → 0.75), trick/ada (0.5 → 0.5)" in shown
    assert "| loss × trick | 2 | 2 | 0 | 0 | 1 (50.0%) |" in shown


def test_wrong_cells_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="did you mean 'penalty/r1'"):
        combinations.measure(quick=True, cell=["penalty/r11"])
    with pytest.raises(SystemExit) as left:
        main(["bench", "combinations", "--data", "digits"])
    assert left.value.code == 2 and "has its own data" in capsys.readouterr().err
