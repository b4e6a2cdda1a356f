"""bench mixtures, very short: what is measured, kept, gone on with and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import cells
import mixtures
from gantlet.cli import main
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.recipes.auto import Facts, auto
from seeds import Pool, begin

SMALL = "+G.hidden=[8]+D.hidden=[8]"
WANTED = [f"ring/gan{SMALL}", f"grid/pacgan2{SMALL}+seeds=3", f"swissroll/ours{SMALL}"]


def test_cells_are_measured_once_and_shown(cache: Path) -> None:
    said: list[str] = []
    table = mixtures.measure(quick=True, cell=WANTED, say=said.append)
    shown = mixtures.text(table)
    assert [c["label"] for c in table["cells"]] and {c["label"] for c in table["cells"]} == set(WANTED)
    assert "| pacgan2+G.hidden=[8]+D.hidden=[8] | 20 | 3 |" in shown
    assert shown.count(" ± ") >= 7 * 3 and "| wgan-gp" not in shown
    assert "| real points | | | 25 | 25 |" in shown and "| real points | | | 8 | 8 |" in shown
    again: list[str] = []
    assert mixtures.measure(quick=True, cell=["ring/gan" + SMALL], say=again.append) == table
    assert said and not again


def test_a_cell_that_diverges_says_so() -> None:
    label = f"ring/gan{SMALL}+players.G.lr=1e30+players.D.lr=1e30"
    shown = mixtures.text(mixtures.measure(quick=True, cell=[label], say=lambda text: None))
    assert "failed: step" in shown and "became NaN or infinite" in shown


def test_seeds_are_added_to_those_that_are_done() -> None:
    plan = mixtures.plan(quick=True)
    old, new = (plan.chosen([f"ring/gan+seeds={text}"])[0] for text in ("2", "2-4"))
    assert old.seeds == (0, 1) and new.seeds == (2, 3, 4)
    assert cells.given(old.facts) == cells.given({k: v for k, v in old.facts.items() if k != "first"})

    def done(cell: cells.Cell, value: float) -> dict[str, Any]:
        return {"label": cell.label, "facts": cell.facts, "steps": 20, "seeds": [{"kl": value}] * len(cell.seeds)}

    again = done(plan.chosen(["ring/gan+seeds=1-2"])[0], 9.0)
    failed = {**done(plan.chosen(["ring/gan+seeds=7-8"])[0], 0.0), "failed": "step 3"}
    del failed["seeds"]
    one, other = cells.joined([done(old, 1.0), again, failed, done(new, 2.0)])
    assert sorted(seed["kl"] for seed in one["seeds"]) == [1.0, 1.0, 2.0, 2.0, 2.0] and one["facts"]["seeds"] == 5
    assert one["label"] == "ring/gan" and "failed" in other


def test_every_cell_can_be_begun() -> None:
    for cell in mixtures.plan(quick=True).chosen(["ring"]):
        assert cell.recipe["steps"] == 20 and cell.seeds == (0, 1)
        begin(cell.recipe, Spec((2,)), cell.seeds)
    full = mixtures.plan(quick=False).chosen(None)
    assert len(full) == 3 * len(mixtures.METHODS)
    assert {len(c.seeds) for c in full} == {10} and {c.recipe["steps"] for c in full} == {20_000}


def test_half_a_cell_is_gone_on_with_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "LOOK", 4)
    (wanted,) = mixtures.plan(quick=True).chosen([f"ring/ours{SMALL}"])
    points = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))

    def weights(minutes: float | None, name: str) -> tuple[list[torch.Tensor], int]:
        calls, told = 0, None
        while told is None:
            state, engine = begin(wanted.recipe, Spec((2,)), wanted.seeds)
            kept, clock, pool = cells.Cells(name), cells.Clock(minutes), Pool(points, wanted.seeds)
            told = cells.played(state, engine, pool, wanted, kept, clock=clock, say=lambda text: None)
            calls += 1
        return [*state.game.parameters(), *state.best_game().parameters()], calls

    whole, once = weights(None, "whole")
    pieces, often = weights(0, "pieces")
    assert once == 1 and often == 5
    assert all(torch.equal(a, b) for a, b in zip(whole, pieces, strict=True))


def test_cells_come_with_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one machine measured, another finds; what it measures itself comes first."""
    here, facts = cells.Cells("some"), {"set": "ring", "rate": 0.1}
    assert here.find(facts) is None
    here.keep(facts, {"score": 1 / 3, "why": None, "rows": [1, float("inf")]})
    here.keep({"set": "grid"}, {"score": 2.0})
    assert here.publish(lambda cell: cell["score"] < 1) == 1
    monkeypatch.setenv("GANTLET_CACHE", str(tmp_path / "elsewhere"))
    there = cells.Cells("some")
    kept = {"score": 1 / 3, "why": None, "rows": [1, float("inf")]}
    assert there.find(facts) == kept and list(there.all()) == [kept] and there.find({"set": "grid"}) is None
    there.keep(facts, {"score": 0.5})
    assert there.find(facts) == {"score": 0.5} and list(there.all()) == [{"score": 0.5}]


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("rong/gan", "no set named 'rong'"),
        ("ring/gun", "did you mean 'gan'"),
        ("ring/gan+seeds=many", "whole number"),
        ("ring/gan+seeds=3-", "first and last"),
        ("ring/gan+seeds=5-3", "first and last"),
        ("ring/gan+steps=-1", "steps"),
        ("ring/gan+stops=5", "no option 'stops'"),
    ],
)
def test_wrong_cells_are_refused(label: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        mixtures.plan(quick=True).chosen([label])


def test_the_command_line_knows_which_benchmark_takes_what(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in [
        (["bench", "speed", "--cell", "a"], "--cell: bench speed has no such option"),
        (["bench", "dirac", "--minutes", "1"], "--minutes: bench dirac has no such option"),
        (["bench", "mixtures", "--data", "digits"], "has its own data"),
        (["bench", "mixtures", "--cell", "ring/gan+G.hidden=[4,5],ring/gun"], "no method named 'gun'"),
        (["bench", "stacked-mnist"], "--data PATH"),
        (["bench", "common"], "no benchmark named 'common'"),
    ]:
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 2
        assert words in capsys.readouterr().err


def test_ours_is_what_auto_plays_on_points_of_the_plane() -> None:
    chosen, measured = auto(Facts(Spec((2,)))).tree, mixtures.ours().tree
    for part in ("game", "players", "dynamics", "average", "batch", "steps"):
        assert chosen[part] == measured[part], part
