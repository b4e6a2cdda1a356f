"""Recipes of residual networks: the papers' numbers, with classes and without, what regularises whom."""

from __future__ import annotations

import pytest
import torch

from gantlet.core.recipe import about_of, recipe
from gantlet.core.when import Now
from helpers import play

RESIDUAL = ["wgan-gp-resnet", "sngan-resnet", "sngan-projection", "sagan", "biggan", "biggan-deep"]
CONDITIONAL = ["sngan-projection", "sagan", "biggan", "biggan-deep"]


def test_the_papers_numbers() -> None:
    gp, sn, projection, sagan, big, deep = (recipe(name) for name in RESIDUAL)
    for made in (gp, sn, projection):
        assert made["d_steps"] == 5
        assert (made["players.D.beta1"], made["players.D.beta2"]) == (0.0, 0.9)
        assert (made["players.G.lr.use"], made["players.G.lr.start"], made["players.G.lr.end"]) == ("linear", 2e-4, 0.0)
    assert (gp["adversarial.use"], gp["penalties.gp.weight"], gp["D.pool"]) == ("wasserstein", 10.0, "mean")
    assert not gp["D.spectral"]
    assert (sn["adversarial.use"], sn["D.spectral"], sn["G.spectral"]) == ("hinge", True, False)
    assert (sagan["players.G.lr"], sagan["players.D.lr"], sagan["d_steps"]) == (1e-4, 4e-4, 1)
    assert all(sagan[f"{role}.spectral"] and sagan[f"{role}.attention"] == 32 for role in "GD")
    for made in (big, deep):
        assert (made["players.G.beta1"], made["players.G.beta2"], made["d_steps"]) == (0.0, 0.999, 2)
        assert made["players.D.lr"] == 4 * made["players.G.lr"]
        assert made["penalties.orthogonal.weight"] == 1e-4
    assert [made["conditional"] for made in (gp, sn, projection, sagan, big, deep)] == [False] * 2 + [True] * 4


@pytest.mark.parametrize("name", RESIDUAL)
def test_each_says_what_it_is_for(name: str) -> None:
    said = about_of(name)
    assert said is not None
    assert str(said.year) in said.paper
    assert "arXiv:" in said.paper


@pytest.mark.parametrize("name", CONDITIONAL)
def test_without_labels_they_play_too(name: str) -> None:
    made = play(name, "conditional=false").run(2)
    made.state.check_finite()
    assert made.state.game.classes == 0
    assert play(name).state.game.classes == 3


@pytest.mark.parametrize("name", CONDITIONAL)
def test_the_class_that_is_asked_for_decides(name: str) -> None:
    """After some steps the same latent makes another sample of another class."""
    game = play(name).run(3).state.game.eval()
    z = game.latent(4, seed=0)
    with torch.no_grad():
        first, second = (game.generate(z, torch.full((4,), y)) for y in (0, 1))
    assert float((first - second).abs().max()) > 1e-6


def test_orthogonality_is_asked_of_the_generator_alone() -> None:
    """Of convolutions and of what feeds the norms; the embedding of the class and the critic stay free."""
    made = play("biggan")
    state = made.state
    batch = made.data.take(0, 8, torch.device("cpu"))
    scene = state.game.stage(batch, Now())
    losses = {turn.name: turn.loss(scene) for turn in state.turns}
    assert [list(loss.terms) for loss in losses.values()] == [["D"], ["G", "orthogonal"]]
    G = state.game.G.net
    losses["G"].terms["orthogonal"].backward()
    assert G.shared.weight.grad is None
    raw = [p for name, p in G.named_parameters() if p.dim() > 1 and not name.startswith("shared")]
    assert all(p.grad is not None for p in raw)
    assert all(p.grad is None for p in state.game.arena.critics.parameters())
