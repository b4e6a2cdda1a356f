"""What is told in the first steps: learning rates that are far too high, and a critic that nothing holds."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from gantlet import api
from gantlet.core import registry
from gantlet.core.registry import check
from gantlet.doctor import About, Diagnosis, Window
from gantlet.doctor.findings.steps import large_steps, unbounded
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
    from gantlet.doctor.finding import Seen

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
    from gantlet.doctor.finding import Seen

    assert unbounded(Seen([Window(1, 20, {})], About())) is None
