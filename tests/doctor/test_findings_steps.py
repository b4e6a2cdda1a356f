"""What is told in the first steps: learning rates that are far too high, and a critic that nothing holds."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from ring_games import R1, R2, watched

from gantlet import api
from gantlet.core import registry
from gantlet.core.registry import check
from gantlet.doctor import About, Diagnosis, Window
from gantlet.doctor.diagnosis import Finding
from gantlet.doctor.finding import Detector, Seen, Sign
from gantlet.doctor.findings.steps import heavy_penalty, large_steps, small_steps, unbounded
from gantlet.runs.doctoring import diagnosis_of
from gantlet.runs.folder import RunFolder

PLAYERS = {"D": "D", "G": "G"}


def judged(update: float, **about: Any) -> Diagnosis:
    values = {
        "D.update": update,
        "D.weights": 2.0,
        "G.update": 0.01,
        "G.weights": 1.0,
        "D.auc": 0.5,
        "G.slope.fake": 1.0,
    }
    facts = About(**{"players": PLAYERS, "critic": "D", "generator": "G", **about})
    return Diagnosis.of(facts, [Window(1, 20, values)])


@pytest.mark.parametrize(("update", "found"), [(0.29, False), (0.31, True), (math.nan, False)])
def test_a_step_is_too_large_from_15_percent_of_the_weights(update: float, found: bool) -> None:
    diagnosis = judged(update)
    assert ("large-steps" in diagnosis.found) == found
    if found:
        assert diagnosis.found["large-steps"].sign.who == "D"


def test_without_a_critic_there_is_no_game() -> None:
    values = {"AE.update": 1.0, "AE.weights": 1.0}
    assert large_steps(Seen([Window(1, 20, values)], About(players={"AE": "AE"}))) is None


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (("adversarial=wasserstein",), True),
        (("adversarial=wasserstein", "penalties.lecam.weight=0.3"), True),  # which holds logits, not slopes
        (("adversarial=wasserstein", "penalties.gp.weight=1"), False),
        (("adversarial=wasserstein", "players.D.clip_weights=0.01"), False),
        (("adversarial=wasserstein", "D.spectral=true"), False),
        ((), False),
    ],
)
def test_a_wasserstein_critic_wants_a_bound(changes: tuple[str, ...], found: bool) -> None:
    diagnosis = judged(0.01, tree=api.recipe("dcgan", *changes).tree)
    assert ("unbounded" in diagnosis.found) == found
    if found:
        (first, *_) = diagnosis.found["unbounded"].remedies
        cured = judged(0.01, tree=api.recipe("dcgan", *changes, *first.change).tree)
        assert "unbounded" not in cured.found


@pytest.mark.parametrize("lr", [0.05, 0.03])
def test_a_learning_rate_far_too_high_is_told_in_the_first_window(tmp_path: Any, lr: float) -> None:
    rates = (f"players.D.lr={lr}", f"players.G.lr={lr}")
    run = api.train("small", *rates, data="digits", out=tmp_path / "hot", steps=20, sample_every=0, samples=4)
    finding = diagnosis_of(RunFolder(run.path)).found["large-steps"]
    assert finding.believed == 20 and "players.D.lr=0.001" in finding.remedies[0].change
    assert check("recipe", "small")[1] == []
    calm = api.train("small", data="digits", out=tmp_path / "calm", steps=20, sample_every=0, samples=4)
    assert diagnosis_of(RunFolder(calm.path)).found == {}


def test_a_loss_that_pays_for_steepness_is_one_of_scale() -> None:
    marked = []
    for name in registry.adversarial.parts:
        pair = registry.part_of("adversarial", name)()
        if pair.steepness_pays:
            marked.append(name)
            real, fake = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
            torch.testing.assert_close(pair.d(3 * real, 3 * fake), 3 * pair.d(real, fake))
    assert "wasserstein" in marked


def test_the_detector_of_bounds_needs_a_recipe() -> None:
    assert unbounded(Seen([Window(1, 20, {})], About())) is None


def slow_one(step: int = 200, *, lr: float = 1e-5, update: float = 1e-3, **more: Any) -> Seen:
    """1,000 steps, and a generator whose steps are a thousandth of its weights where nothing else is said."""
    tree = api.recipe("mlp", f"players.G.lr={lr}", "players.D.lr=1e-3", steps=1_000).tree
    values = {"G.update": update, "G.weights": 1.0, "D.update": 0.01, "D.weights": 1.0, "D.diversity": 1.0,
              "D.centre": 0.1, "D.auc": 0.95, **more}  # fmt: skip
    about = About(players=PLAYERS, critic="D", generator="G", tree=tree, shape=(2,))
    return Seen([Window(step - 99, step, values)], about)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, True),  # 1,000 steps of a thousandth: the norm
        ({"update": 1.9e-3}, True),
        ({"update": 2.1e-3}, False),
        ({"lr": 3e-4}, False),  # usual enough
        ({"D.auc": 0.6}, False),  # samples are right already: nothing is left to do
        ({"D.auc": 0.6, "D.diversity": 0.7}, True),
        ({"D.auc": 0.6, "D.centre": 0.6}, True),
        ({"D.auc": 0.6, "probe.coverage": 0.6}, True),
        ({"D.auc": 0.6, "probe.coverage": 0.8}, False),
        ({"step": 500}, True),
        ({"step": 600}, False),  # too late to say
    ],
)
def test_all_steps_together_may_be_too_short_a_way(changes: dict[str, Any], found: bool) -> None:
    sign = small_steps(slow_one(**changes))
    assert (sign is not None) == found
    if sign is not None:
        assert sign.who == "G" and sign.measures[0].value < 2


def test_steps_that_the_autopilot_made_larger_are_not_small() -> None:
    seen = slow_one()
    seen = Seen(seen.windows, replace(seen.about, turned={"G": 100.0}))
    assert small_steps(seen) is None
    assert small_steps(Seen(seen.windows, replace(seen.about, turned={}, tree={}))) is None, "no recipe, no length"


@pytest.mark.parametrize(
    ("gamma", "reach", "found"),
    [(1.7, 0.5, True), (1.5, 0.5, False), (1.7, 0.7, False), (1.7, math.nan, False), (0.0, 0.5, False)],
)
def test_a_penalty_is_heavy_from_16_times_the_usual_where_reals_are_missed(
    gamma: float, reach: float, found: bool
) -> None:
    tree = api.recipe("mlp", *([f"penalties.r1.gamma={gamma}"] if gamma else [])).tree
    about = About(players=PLAYERS, critic="D", generator="G", tree=tree, shape=(2,))
    seen = Seen([Window(201, 300, {"probe.coverage": reach})], about)
    sign = heavy_penalty(seen)
    assert (sign is not None) == found
    if sign is not None:
        assert sign.who == "D"
        first = Diagnosis.of(about, seen.windows).found["heavy-penalty"].remedies[0]
        assert first.change == ("penalties.r1.gamma=0.1",)


def test_a_training_far_too_slow_for_its_length_is_told_so_in_its_first_hundred_steps() -> None:
    changes = (R1, R2, "steps=1000", "players.D.lr=1e-5", "players.G.lr=1e-5")
    finding = watched(*changes, steps=100).found["small-steps"]
    assert set(finding.remedies[0].change) == {"players.D.lr=0.001", "players.G.lr=0.001"}
    assert "small-steps" not in watched(*changes, *finding.remedies[0].change, steps=100).found
    assert "small-steps" not in watched(*changes, "steps=100000", steps=100).found, "that is long enough"


def test_what_explains_only_the_rest_is_named_after_the_others_of_its_rank() -> None:
    diagnosis = Diagnosis(About())
    late, early = (
        Finding(Detector(name, "dynamics", lambda seen: None, (), 1, 0, residual), Sign(()), first, first, first)
        for name, residual, first in (("late", False, 300), ("early", True, 100))
    )
    diagnosis.found = {"early": early, "late": late}
    assert [f.name for f in diagnosis.ordered] == ["late", "early"] and diagnosis.cause is late
