"""Recipes of ProGAN and the StyleGANs: the papers' numbers, with and without classes, path length in w."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.critics import Critics, Evidence
from gantlet.core.errors import InputError
from gantlet.core.recipe import about_of, recipe
from gantlet.core.when import Now
from helpers import number, play

NAMES = ["progan", "stylegan", "stylegan2", "stylegan2-ada", "stylegan2-small"]


def test_what_these_papers_say() -> None:
    pro, one, two, ada = (recipe(name) for name in NAMES[:4])
    for made in (pro, one, two, ada):
        assert all(made[f"players.{p}.beta1"] == 0 and made[f"players.{p}.beta2"] == 0.99 for p in "DG")
        assert made["average.half_life_images"] == 10_000
        assert made["D.minibatch_std"]
    assert (pro["adversarial.use"], pro["penalties.gp.weight"], pro["penalties.logit-l2.weight"]) == (
        "wasserstein",
        10,
        0.001,
    )
    assert pro["players.G.lr"] == one["players.G.lr"] == 1e-3
    assert (one["penalties.r1.gamma"], one["penalties.r1.every"], one["D.filtered"]) == (10, 1, True)
    assert (two["penalties.r1.gamma"], two["penalties.r1.every"], two["players.D.lr"]) == (10, 16, 2e-3)
    path = two["penalties.path-length"]
    assert (path["weight"], path["every"], path["of"], path["rows"], path["decay"]) == (2, 4, "w", 0.5, 0.99)
    assert (two["G.mapping_layers"], two["G.mixing"], two["G.z"], two["G.w"], two["G.widest"]) == (
        8,
        0.9,
        512,
        512,
        512,
    )
    assert (ada["tricks.ada.target"], ada["tricks.ada.speed_images"], ada["G.mapping_layers"]) == (0.6, 500_000, 2)
    assert ada["penalties.r1.gamma"] == pytest.approx(0.0002 * 64 * 64 / ada["batch"], rel=0.2)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_where_it_belongs(name: str) -> None:
    said = about_of(name)
    assert said is not None
    assert str(said.year) in said.paper
    assert "arXiv" in said.paper


@pytest.mark.parametrize("name", NAMES)
def test_it_plays_with_classes_too(name: str) -> None:
    """Every sample says which class it is of, and another class is another sample."""
    made = play(name, "conditional=true").run(3)
    made.state.check_finite()
    game = made.state.best_game()
    z = game.latent(6, seed=0)
    y = torch.arange(6) % 3
    with torch.no_grad():
        assert torch.allclose(game.generate(z, y)[2:4], game.generate(z[2:4], y[2:4]), atol=1e-5)
        assert not torch.isclose(game.generate(z, y), game.generate(z, (y + 1) % 3)).all()


class Linear(nn.Module):
    """Styles w = 2 z for each of three layers; an image that is linear in them, layer l by (l + 1) A."""

    def __init__(self) -> None:
        super().__init__()
        self.z_dim = 4
        self.mapping = nn.Linear(4, 4, bias=False)
        self.mapping.weight = nn.Parameter(2 * torch.eye(4))
        self.synthesis = Sum()

    def forward(self, z: Tensor) -> Tensor:
        made: Tensor = self.synthesis(self.mapping(z).unsqueeze(1).expand(-1, 3, -1), z)
        return made


class Sum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.eye(4).unsqueeze(0) * torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1))

    def forward(self, w: Tensor, z: Tensor | None = None) -> Tensor:
        return torch.einsum("nlw,lwx->nx", w, self.A).view(-1, 1, 2, 2)


def evidence_of(G: nn.Module, z: Tensor) -> Evidence:
    x = torch.zeros(len(z), 1, 2, 2)
    return Evidence(Critics({}), x, x, (), [], [], Now(), z, G)


def penalty(**options: object) -> object:
    tree, faults = registry.check("penalty", {"use": "path-length", "weight": 1.0, "rows": 1.0, **options})
    assert not faults
    return registry.bind("penalty", tree, total=1)()


def test_path_length_in_w_and_in_z() -> None:
    """By hand: the slope in layer l of G is l y, so a length in w is |y| sqrt(mean of 1, 4, 9), in z |y| 2 (1 + 2 + 3)."""
    z, lengths = torch.randn(6, 4), {}
    for of in ("w", "z"):
        made = penalty(of=of)
        assert number(made.g_term(evidence_of(Linear(), z))) > 0
        lengths[of] = number(
            next(b for name, b in made.state.named_buffers() if b.numel() == 1 and b.is_floating_point())
        )
    assert lengths["z"] / lengths["w"] == pytest.approx(12 / math.sqrt(14 / 3), rel=1e-4)


def test_path_length_in_w_leaves_the_mapping_alone() -> None:
    """What is differentiated in w does not depend on how w was made, where G is linear in it."""
    G = Linear()
    penalty(of="w").g_term(evidence_of(G, torch.randn(6, 4))).backward()
    assert number(G.synthesis.A.grad.abs().max()) > 0
    assert G.mapping.weight.grad is None or number(G.mapping.weight.grad.abs().max()) == 0
    assert not G.synthesis._forward_pre_hooks


def test_path_length_in_w_wants_styles() -> None:
    with pytest.raises(InputError, match=r"penalties.path-length.of=w: this generator has no styles .*; use style"):
        play("r1gan", "penalties.path-length.of=w").run(1)


def test_path_length_through_a_labelled_generator() -> None:
    made = play("stylegan2", "conditional=true", "penalties.path-length.every=1").run(2)
    made.state.check_finite()
    average = next(b for n, b in made.state.game.named_buffers() if "path-length" in n and b.is_floating_point())
    assert number(average) > 0
