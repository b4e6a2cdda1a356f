"""Every registered generator can be truncated, walked through, and has directions; those with classes or styles, more."""

from __future__ import annotations

import pytest
import torch
from explore_models import SPEC, Judge
from torch import nn

from gantlet.core import registry
from gantlet.core.held import draws
from gantlet.explore import ganspace, interpolate, invert, mix, morph, sefa, style_of
from gantlet.explore.space import Space
from gantlet.games.classic import Classic
from gantlet.games.labels import hears
from gantlet.runs.model import Model
from helpers import SMALL

GENERATORS = sorted(registry.generator.parts)


def net(name: str, classes: int) -> nn.Module:
    part = registry.generator.find(name)
    tree, faults = registry.check("generator", {"use": name, **{k: v for k, v in SMALL.items() if k in part.options}})
    assert not faults
    return registry.bind("generator", tree, total=1)(SPEC._replace(classes=classes))


def model_around(name: str) -> Model:
    """An untrained generator in a game, told the class where it can be."""
    made = net(name, SPEC.classes)
    if hears(made):
        return Model(Classic(SPEC, G=made, D=Judge(), conditional=True), SPEC, {})
    return Model(Classic(SPEC, G=net(name, 0), D="mlp"), SPEC, {})


@pytest.mark.parametrize("name", GENERATORS)
def test_the_tools_take_every_generator(name: str) -> None:
    model = model_around(name)
    x = model.sample(2)
    assert torch.allclose(model.sample(2, truncation=1.0 if style_of(model.game) else 40.0), x, atol=1e-4)
    assert not torch.allclose(model.sample(2, truncation=0.3), x, atol=1e-4)
    path = interpolate(model, n=2, frames=2, y=0 if model.game.classes else None)
    assert path.shape == (3, *SPEC.shape) and bool(torch.isfinite(path).all()) and not torch.equal(path[0], path[2])
    found = sefa(model, k=1)
    assert found.linear == pytest.approx(1, abs=0.1), "the first layer is affine in the code, after a norm nearly so"
    assert float(found.values[0]) > 0
    fitted = invert(model, x[:1], steps=2, restarts=1)
    assert bool(torch.isfinite(fitted.psnr).all())


@pytest.mark.parametrize("name", [n for n in GENERATORS if draws(net(n, 0))])
def test_noise_is_held_where_latents_move(name: str) -> None:
    """A step of a millionth is no new picture, though any bit of a latent draws other noise."""
    model = Model(Classic(SPEC, G=net(name, 0), D="mlp"), SPEC, {})
    with torch.no_grad():
        for at, p in model.game.named_parameters():
            if at.endswith(("noise.strength", "loudness")):
                p.fill_(1.0)
    z = model.game.latent(1, seed=0)
    near, place = z + 1e-6, Space(model.game, "z")
    assert float((model.game.generate(near) - model.game.generate(z)).abs().max()) > 1e-2
    assert torch.allclose(place.images(near), place.images(z), atol=1e-3)


@pytest.mark.parametrize("name", [n for n in GENERATORS if hears(net(n, SPEC.classes))])
def test_native_classes_can_be_morphed(name: str) -> None:
    model = model_around(name)
    for module in model.game.G.modules():
        if isinstance(module, nn.Embedding):  # some begin the same for all classes
            nn.init.normal_(module.weight)
    made = morph(model, [0, 2], frames=2, n=2)
    assert torch.allclose(made[:, 0], model.sample(2, classes=[0]), atol=1e-3)
    assert torch.allclose(made[:, 2], model.sample(2, classes=[2]), atol=1e-3)
    assert not torch.equal(made[:, 1], made[:, 0]) and not torch.equal(made[:, 1], made[:, 2])


@pytest.mark.parametrize("name", [n for n in GENERATORS if hasattr(net(n, 0), "synthesis")])
def test_styles_can_be_mixed_and_have_components(name: str) -> None:
    model = model_around(name)
    grid = mix(model, rows=1, columns=1, which="fine")
    assert grid.shape == (2, 2, *SPEC.shape) and bool(torch.isfinite(grid).all())
    assert ganspace(model, k=2, n=50).space == "w"
    assert invert(model, model.sample(1), space="w+", steps=1, restarts=1).codes.dim() == 3
