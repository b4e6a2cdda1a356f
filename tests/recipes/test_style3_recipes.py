"""StyleGAN3's recipes: what the paper says, and that they are played with classes, resumed and moved."""

from __future__ import annotations

import torch

from gantlet.core.recipe import about_of, recipe
from gantlet.tricks.blurring import Blurring
from helpers import play, same

NAMES = ["stylegan3-t", "stylegan3-r"]


def test_each_says_where_it_is_from() -> None:
    for name in NAMES:
        about = about_of(name)
        assert about is not None
        assert (about.year, about.family) == (2021, "StyleGAN")
        assert "2106.12423" in about.paper


def test_what_the_paper_says() -> None:
    """Rates of 0.0025 and 0.002, no momentum, lazy R1, a mapping of two layers, 14 layers' widths (its appendix)."""
    for name in NAMES:
        made = recipe(name)
        assert (made["players.G.lr"], made["players.D.lr"]) == (0.0025, 0.002)
        assert {made[f"players.{p}.{b}"] for p in "GD" for b in ("beta1", "beta2")} == {0.0, 0.99}
        assert (made["penalties.r1.every"], made["batch"], made["average.half_life_images"]) == (16, 32, 10_000)
        assert (made["G.mapping_layers"], made["G.frame"], made["G.critical"], made["G.taps"]) == (2, 10, 2, 6)


def test_r_is_t_with_rotation_twice_the_width_and_blurred_critics() -> None:
    t, r = (recipe(name) for name in NAMES)
    assert (r["G.width"], r["G.widest"]) == (2 * t["G.width"], 2 * t["G.widest"])
    assert (t["G.rotation"], r["G.rotation"]) == (False, True)
    assert (t["tricks"], list(r["tricks"])) == ({}, ["blurring"])
    assert r["tricks.blurring.images"] == 200_000
    back = r.override("G.rotation=false", "G.width=32", "G.widest=512", "tricks.blurring=null")
    assert back.tree == t.tree


def test_classes_are_told_to_both() -> None:
    made = play("stylegan3-t", "conditional=true").run(2)
    made.state.check_finite()
    game = made.state.game
    z = game.latent(3, seed=0)
    x = game.generate(z[:1].expand(3, -1), torch.arange(3))
    assert not torch.allclose(x[0], x[1])


def test_configuration_r_sees_the_images_themselves_in_the_end() -> None:
    """The trick is in the game, and with its images gone by plays as if it were not there."""
    made = play("stylegan3-r", "tricks.blurring.images=1", "sample_every=0").run(1)
    (trick,) = made.state.game.arena.tricks.values()
    assert isinstance(trick, Blurring)
    weights = []
    for change in ("tricks.blurring.images=1", "tricks.blurring=null"):
        one = play("stylegan3-r", change)
        one.state.now = one.state.now._replace(images=8)
        weights.append(one.run(2).weights())
    assert same(*weights)


def test_one_step_teaches_the_layers_the_size_of_their_inputs() -> None:
    made = play("stylegan3-t").run(1)
    body = made.state.game.G.synthesis.body
    assert all(float(layer.magnitude) != 1 for layer in body)
