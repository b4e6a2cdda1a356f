"""R3GAN, FastGAN and GAT: what their papers say, and that conditional play is played."""

from __future__ import annotations

import pytest
import torch

from gantlet.core.recipe import about_of, recipe
from helpers import play

NAMES = ["r3gan", "fastgan", "gat"]


@pytest.mark.parametrize("name", NAMES)
def test_each_says_where_it_is_from(name: str) -> None:
    about = about_of(name)
    assert about is not None
    assert str(about.year) in about.paper
    assert "arXiv:" in about.paper


def test_r3gan_is_relativistic_and_penalised_at_every_step() -> None:
    made = recipe("r3gan")
    assert made["adversarial.use"] == "relativistic"
    assert list(made["penalties"]) == ["r1", "r2"]
    assert {made[f"penalties.{p}.every"] for p in ("r1", "r2")} == {1}
    assert made["penalties.r1.gamma"] == made["penalties.r2.gamma"]
    assert made["penalties.r1.gamma.start"] == 10 * made["penalties.r1.gamma.end"]  # as the paper's 0.05 -> 0.005
    assert made["players.D.lr.start"] == 4 * made["players.D.lr.end"]  # 2e-4 -> 5e-5
    assert (made["players.D.beta1"], made["players.D.beta2"]) == (0, 0.99)
    assert made["tricks"] == {}


def test_r3gan_s_cifar_is_named_in_overrides() -> None:
    """What the recipe's docstring gives can be written, and is the paper's 20.7 M."""
    from gantlet.core import registry
    from gantlet.core.game import Spec

    doc = registry.recipe.find("r3gan").fn.__doc__ or ""
    text = " ".join(doc[doc.index("`") + 1 : doc.rindex("`")].split())
    made = recipe("r3gan").override(*text.split())
    with torch.device("meta"):
        game = registry.bind("game", made.tree["game"], total=10)(Spec((3, 32, 32), classes=10))
    counts = [sum(p.numel() for p in net.parameters()) for net in (game.G, game.arena.critics)]
    assert counts == [20_739_940, 20_690_788]
    assert made["batch"] == 512


def test_fastgan_s_numbers() -> None:
    """Adam 2e-4 (0.5, 0.999), batches of 8, hinge, augmentation, decoders."""
    made = recipe("fastgan")
    for player in ("D", "G"):
        adam = made[f"players.{player}"]
        assert (adam["lr"], adam["beta1"], adam["beta2"]) == (2e-4, 0.5, 0.999)
    assert (made["batch"], made["adversarial.use"]) == (8, "hinge")
    assert list(made["tricks"]) == ["diffaugment", "self-supervised"]
    keep = 0.5 ** (made["batch"] / made["average.half_life_images"])
    assert keep == pytest.approx(0.999, abs=1e-4)


def test_gat_needs_no_second_derivative() -> None:
    """Its penalties are differences: D's turn asks for no slope in its input."""
    made = play("gat")
    batch, now = made.engine.draw(made.state, made.data)
    terms = made.engine.gradient(made.state, made.state.turns[0], batch, now).report.terms
    assert set(terms) == {"D", "fd-r1", "fd-r2"}
    assert all(float(t) > 0 for t in terms.values())
    assert made.recipe["adversarial.use"] == "relativistic"


@pytest.mark.parametrize("name", ["r3gan", "gat"])
def test_they_play_with_classes(name: str) -> None:
    made = play(name, "conditional=true")
    made.run(2).state.check_finite()
    game = made.state.game
    z = game.latent(6, seed=0)
    with torch.no_grad():
        asked = [game.generate(z, torch.full((6,), y)) for y in range(3)]
    assert not torch.equal(asked[0], asked[1])
