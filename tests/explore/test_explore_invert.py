"""Inversion: a generator's own samples are found again; an encoder's guess is a start."""

from __future__ import annotations

import pytest
import torch
from explore_models import Linear, Styled, conditional, model_from, model_of
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.explore import invert, psnr, style_of


def test_psnr_of_images_in_minus_one_to_one() -> None:
    x = torch.zeros(2, 1, 4, 4)
    assert psnr(x, x + torch.tensor([2.0, 0.2]).view(2, 1, 1, 1)).tolist() == pytest.approx([0, 20])


@pytest.mark.parametrize("name", ["mlp", "dcgan"])
def test_a_sample_of_its_own_is_found(name: str) -> None:
    model = model_from(name)
    x = model.sample(3, seed=11)
    with pytest.raises(InputError, match="samples are truncated"):
        invert(model.truncated(0.5), x)
    found = invert(model, x, steps=200, restarts=4)
    assert float(found.psnr.min()) > 30
    assert torch.allclose(found.psnr, psnr(found.images, x))
    assert torch.equal(model.game.generate(found.codes).float().clamp(-1, 1), found.images) or torch.allclose(
        model.game.generate(found.codes), found.images, atol=1e-5
    )


def test_a_linear_generator_is_inverted_exactly() -> None:
    model = model_of(Linear([3.0, 2.0, 1.0, 1.0]))
    model.spec._replace(classes=0)
    z = 0.1 * model.game.latent(2, seed=4)
    found = invert(model, model.game.generate(z), steps=300)
    assert torch.allclose(found.codes, z, atol=2e-3)


@pytest.mark.parametrize("space", ["w", "w+"])
def test_styles_are_found(space: str) -> None:
    model = model_of(Styled())
    style = style_of(model.game)
    x = style.made(style.w_of(model.game.latent(2, seed=9)))
    found = invert(model, x, space=space, steps=200, restarts=3)
    assert found.codes.shape == ((2, 7) if space == "w" else (2, 3, 7))
    assert float(found.psnr.min()) > 30


def test_more_styles_fit_what_one_cannot() -> None:
    """A mixture of styles is out of w and in w+."""
    model = model_of(Styled())
    style = style_of(model.game)
    w = style.w_of(model.game.latent(3, seed=1))
    x = style.made(w.unsqueeze(0))
    plain, layered = (invert(model, x, space=s, steps=200, restarts=3).psnr for s in ("w", "w+"))
    assert float(layered) > 30 and float(layered) > float(plain)


def test_more_restarts_are_no_worse_and_rows_are_alone() -> None:
    model = model_from("dcgan")
    x = model.sample(2, seed=3)
    few, many = (invert(model, x, steps=20, restarts=r).psnr for r in (1, 6))
    assert bool((many >= few - 1e-3).all())
    alone = invert(model, x[1:], steps=20, restarts=6).psnr
    assert float(alone) == pytest.approx(float(many[1]), abs=0.5)


def test_choices_are_not_moved() -> None:
    model = conditional(Styled(classes=3))
    x = model.sample(4, seed=2)
    drawn = model.game.latent(512, seed=0)[:, -1]
    found = invert(model, x, steps=5, restarts=2)
    assert all(float(choice) in set(drawn.tolist()) for choice in found.codes[:, -1])


def test_an_encoder_gives_the_start() -> None:
    """Of a game that can encode, no step is needed where its code is right."""
    model = model_from("mlp")
    z = model.game.latent(2, seed=77)
    x = model.sample(2, seed=77)
    without = invert(model, x, steps=1, lr=1e-9, restarts=1)

    def encode(images: Tensor) -> Tensor:
        return z

    model.game.encode = encode
    found = invert(model, x, steps=1, lr=1e-9, restarts=1)
    assert float(found.psnr.min()) > 80 > float(without.psnr.max())
    assert torch.allclose(found.codes, z, atol=1e-6)


def test_features_are_a_distance_too() -> None:
    model = model_from("mlp")
    x = model.sample(2, seed=5)
    found = invert(model, x, steps=150, restarts=3, features="thumbnail", weight=0.5)
    assert float(found.psnr.min()) > 30


def test_other_images_are_refused() -> None:
    model = model_from("mlp")
    with pytest.raises(InputError, match=r"\[3, 8, 8\], the model makes \[1, 8, 8\]"):
        invert(model, torch.zeros(1, 3, 8, 8))
    with pytest.raises(InputError, match="steps=0"):
        invert(model, torch.zeros(1, 1, 8, 8), steps=0)
    with pytest.raises(InputError, match="mapping and a synthesis"):
        invert(model, torch.zeros(1, 1, 8, 8), space="w")
