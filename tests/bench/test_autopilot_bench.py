"""bench autopilot, very short: the prior stays as it was drawn, runs are paired and kept, the counting is right."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

import autopilot
import autopilot_play
from autopilot_play import ARMS, LOOKS, code, facts_of, played, turns_of
from autopilot_prior import COUNT, LOSSES, SETS, begun, config, recipe_of
from autopilot_tables import compared, harm, interval, mcnemar, numbers, wilson
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.runs.build import new_game

PLACES = [config(f"c{i:02d}") for i in range(COUNT)]


def quiet(text: str) -> None:
    pass


def test_the_prior_covers_its_range_and_is_what_was_drawn() -> None:
    assert {c.set for c in PLACES} == set(SETS) and {c.loss for c in PLACES} == set(LOSSES)
    for rate in ("lr_G", "lr_D"):
        drawn = sorted(getattr(c, rate) for c in PLACES)
        assert drawn[0] >= 1e-5 and drawn[-1] <= 1e-2 and drawn[5] < 1e-4 and drawn[-5] > 1e-3
    none = sum(c.gamma == 0 for c in PLACES)
    assert 5 <= none <= 25 and all(1e-3 <= c.gamma <= 1e3 for c in PLACES if c.gamma)
    assert {c.d_steps for c in PLACES} == {1, 5} and len({c.width for c in PLACES}) == 4
    # as it was before anybody looked: whoever changes it changes what was preregistered
    first = PLACES[0]
    assert (first.name, config("c0"), config("c00")) == ("c00", first, first)
    assert first[1:7] == ("ring", "wasserstein", 1.018e-05, 1.761e-05, 0.0, True)
    assert PLACES[1][1:7] == ("ring", "hinge", 0.002349, 0.004413, 0.8348, False)
    assert config("d00")[1:] != first[1:]


def test_every_training_can_be_built_on_both_recipes_with_the_same_first_weights() -> None:
    for c in PLACES:
        made = [recipe_of(c, arm, 8_000) for arm in ("off", "static")]
        for recipe, d_steps in zip(made, (c.d_steps, 1)):
            assert recipe["steps"] * (1 + d_steps) <= 8_000 and recipe["game.d_steps"] == d_steps
            assert recipe["game.G"]["hidden"] == [c.width, c.width] and recipe["batch"] == 128
    games = [new_game(recipe_of(PLACES[1], arm, 80), Spec((2,)), steps=40) for arm in ("off", "static")]
    before = [w.clone() for w in games[0].parameters()]
    for game in games:
        begun(PLACES[1], game)
    for old, a, b in zip(before, *(g.parameters() for g in games), strict=True):
        assert torch.equal(a, b) and torch.equal(a, old * (PLACES[1].gain if old.dim() > 1 else 1))


def test_runs_are_measured_once_and_shown(cache: Path) -> None:
    said: list[str] = []
    table = autopilot.measure(quick=True, cell=["c00", "c01/off"], say=said.append)
    assert Counter(r["arm"] for r in table["runs"]) == {"off": 2, "on": 1, "static": 1, "placebo": 1}
    for run in table["runs"]:
        assert run["ended"] == run["steps"] and len(run["curve"]) == LOOKS
        assert (
            run["steps"] * (1 + (1 if run["arm"] == "static" else run["config"]["d_steps"])) <= autopilot.QUICK_BUDGET
        )
    shown = autopilot.text(table)
    assert "| off | as drawn | 2 |" in shown and "McNemar" in shown and "left alone" in shown
    again: list[str] = []
    assert autopilot.measure(quick=True, cell=["c00", "c01/off"], say=again.append) == table
    assert len(said) == 4 and not again, "without a turn the placebo is what was drawn"
    none: list[str] = []
    assert autopilot.measure(quick=True, cell=["c02"], minutes=0, say=none.append)["runs"] == []


def test_without_an_action_the_autopilot_s_run_is_the_one_without_it() -> None:
    off, on, chance = (played(PLACES[1], 1, arm, 120, []) for arm in ("off", "on", "placebo"))
    assert on["actions"] == chance["actions"] == []
    assert off["curve"] == on["curve"] == chance["curve"]


def test_the_placebo_turns_as_often_and_the_same_every_time() -> None:
    turns = [5, 10, 10, 20]
    one, two = (played(PLACES[1], 0, "placebo", 120, turns) for _ in range(2))
    assert one["actions"] == two["actions"] and one["curve"] == two["curve"]
    assert [a["step"] for a in one["actions"]] == turns == turns_of(one)
    assert {a["after"] / a["before"] for a in one["actions"]} <= {0.5, 2.0}
    assert one["curve"] != played(PLACES[1], 0, "off", 120, [])["curve"]


def test_a_changed_doctor_is_measured_anew_and_nothing_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {arm: facts_of(PLACES[0], 0, arm, 240, []) for arm in ARMS}
    assert len(code()) == 16
    monkeypatch.setattr(autopilot_play, "code", lambda: "another")
    after = {arm: facts_of(PLACES[0], 0, arm, 240, []) for arm in ARMS}
    assert {arm for arm in ARMS if before[arm] != after[arm]} == {"on", "placebo"}


def run(name: str, seed: int, arm: str, healthy: bool, actions: int = 0, **more: Any) -> dict[str, Any]:
    done = [{"knob": "penalties.r1", "undone": False, "reason": "stiff"}] * actions
    curve = [{"healthy": healthy}] * 8
    return {
        "config": {"name": name}, "seed": seed, "arm": arm, "healthy": healthy, "actions": done, "curve": curve,
        "stopped": None, "seconds": 1.0, **more,
    }  # fmt: skip


def test_pairs_are_counted_by_training_and_seed() -> None:
    runs = [run("c00", s, "off", s == 0) for s in range(3)] + [run("c00", s, "on", s < 2, actions=s) for s in range(3)]
    runs += [run("c01", 0, "off", True), run("c01", 0, "on", False, actions=1), run("c09", 0, "on", True)]
    found = numbers(runs)
    row = found["pairs"]["off"]
    assert (row["pairs"], row["gained"], row["lost"], row["difference"]) == (4, 1, 1, 0.0)
    assert found["harm"] | {"low": 0, "high": 0} == {
        "healthy": 2, "acted_on": 1, "spoilt": 1, "low": 0, "high": 0, "which": ["c01 seed 0"],
    }  # fmt: skip
    assert found["arms"]["on"]["healthy"] == pytest.approx(3 / 5) and found["actions"]["turned"] == 4


def test_the_statistics_are_those_of_the_books() -> None:
    assert mcnemar(0, 0) == 1 and mcnemar(5, 0) == 2 / 32 and mcnemar(0, 5) == 2 / 32
    assert mcnemar(8, 2) == pytest.approx(0.109375)  # a binomial test of 2 in 10
    low, high = wilson(1, 10)
    assert (low, high) == (pytest.approx(0.01788, abs=1e-4), pytest.approx(0.40415, abs=1e-4))
    assert wilson(0, 0) == (0.0, 1.0)
    same = interval([[1.0, 1.0]] * 5)
    assert same == (1.0, 1.0)
    low, high = interval([[1.0], [0.0]] * 50)
    assert 0.38 < low < 0.43 and 0.57 < high < 0.62
    # groups count as wholes: copies of a row are no new evidence
    wide = interval([[1.0] * 10, [0.0] * 10] * 5)
    assert wide[1] - wide[0] > 2 * (high - low)
    assert math.isnan(interval([])[0])


def test_a_healthy_run_that_is_spoilt_counts_and_a_cured_one_is_no_harm() -> None:
    off = {("c", 0): run("c", 0, "off", True), ("c", 1): run("c", 1, "off", False)}
    on = {("c", 0): run("c", 0, "on", True), ("c", 1): run("c", 1, "on", True)}
    assert harm(on, off)["spoilt"] == 0 and compared(on, off)["gained"] == 1
    assert harm(off, on)["spoilt"] == 1 and compared(off, on)["lost"] == 1


@pytest.mark.parametrize(
    ("cell", "words"), [("c00/of", "did you mean 'off'"), ("e00", "no configuration named 'e00'"), ("ring", "c00 to")]
)
def test_wrong_cells_are_refused(cell: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        autopilot.measure(quick=True, cell=[cell], say=quiet)


def test_cells_are_names_spans_and_arms() -> None:
    assert [c.name for c in autopilot.chosen(["c00-c03", "d2"], [])] == ["c00", "c01", "c02", "c03", "d02"]
    assert autopilot.chosen(["c00/on", "c00/off"], []) == {config("c00"): ["on", "off"]}
    assert autopilot.chosen(["on"], ["c00", "c01"]) == {config("c00"): ["on"], config("c01"): ["on"]}
    assert [len(a) for a in autopilot.chosen(None, ["c00"]).values()] == [4]
    with pytest.raises(InputError, match="its own data"):
        autopilot.measure(data="digits")
