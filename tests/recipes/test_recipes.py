"""Every recipe: it is complete, it says whose it is, and it plays."""

from __future__ import annotations

import pytest
import torch

from gantlet.core import registry
from gantlet.core.recipe import recipe
from helpers import RECIPES, play, same


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_plays_and_everybody_moves(name: str) -> None:
    made = play(name)
    begun = {player: made.weights(player) for player in made.state.players}
    made.run(3)
    made.state.check_finite()
    for player, before in begun.items():
        after = made.weights(player)
        assert not same(before, after)
        assert all(torch.isfinite(w).all() for w in after)


@pytest.mark.parametrize("name", [n for n in RECIPES if not registry.recipe.find(n).wants])
def test_a_recipe_names_its_paper(name: str) -> None:
    """One that looks at the data first chooses among those that do."""
    assert any(character.isdigit() for character in registry.recipe.find(name).doc)


def test_what_the_papers_say() -> None:
    """The numbers of the papers, where a recipe carries a paper's name."""
    wgan, gp, sn, dc, r1 = (recipe(n) for n in ("wgan", "wgan-gp", "sngan", "dcgan", "r1gan"))
    assert (wgan["d_steps"], wgan["players.D.clip_weights"], wgan["players.D.lr"]) == (5, 0.01, 5e-5)
    assert wgan["players.D.use"] == "rmsprop"
    assert wgan["players.G.clip_weights"] is None
    assert (gp["penalties.gp.weight"], gp["d_steps"], gp["players.D.beta1"], gp["players.D.beta2"]) == (10, 5, 0.0, 0.9)
    assert (sn["adversarial.use"], sn["D.spectral"]) == ("hinge", True)
    assert (dc["players.G.lr"], dc["players.G.beta1"]) == (2e-4, 0.5)
    assert list(r1["penalties"]) == ["r1", "r2"]
    assert r1["adversarial.use"] == "relativistic"
    assert not any(n["D.batch_norm"] for n in (wgan, gp, sn))
