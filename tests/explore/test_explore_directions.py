"""SeFa and GANSpace: the planted direction is found, by both, in whatever way a network reads its latent."""

from __future__ import annotations

import pytest
import torch
from explore_models import Linear, Styled, conditional, model_from, model_of
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.explore import ganspace, sefa, show, style_of
from gantlet.nets.equalised import EqualLinear


def turned() -> Tensor:
    """A rotation of the latent: row i is the planted direction of the i-th column's length."""
    return torch.linalg.qr(torch.randn(4, 4))[0]


@pytest.mark.parametrize("method", [sefa, ganspace])
def test_the_planted_directions_are_found_in_order(method) -> None:
    turn = turned()
    found = method(model_of(Linear([5.0, 3.0, 2.0, 1.0], turn)), k=4)
    agreement = (found.vectors @ turn.double().T).abs()
    assert float(agreement.diagonal().min()) > (0.9999 if method is sefa else 0.98)
    assert torch.allclose(found.vectors.norm(dim=1), torch.ones(4).double())
    assert bool((found.values.diff() < 0).all()) and float(found.share.sum()) == pytest.approx(1)
    assert torch.allclose(
        found.values.sqrt(), torch.tensor([5.0, 3, 2, 1]).double(), rtol=1e-4 if method is sefa else 0.1
    )
    assert torch.allclose(found.scale, torch.ones(4).double(), atol=0.3)


def test_sefa_of_a_transposed_convolution_is_that_of_its_weights() -> None:
    """A, found by asking, is the layer's own weight matrix."""
    layer = nn.ConvTranspose2d(6, 4, 4)

    class First(nn.Module):
        z_dim = 6

        def __init__(self) -> None:
            super().__init__()
            self.layer, self.out = layer, nn.Conv2d(4, 1, 1)

        def forward(self, z: Tensor) -> Tensor:
            return torch.tanh(self.out(layer(z.view(-1, 6, 1, 1)).repeat(1, 1, 2, 2)))

    found = sefa(model_of(First()), k=2)
    a = layer.weight.detach().flatten(1).double()
    values, vectors = torch.linalg.eigh(a @ a.T)
    assert float((found.vectors[0] @ vectors[:, -1]).abs()) == pytest.approx(1, abs=1e-5)
    assert torch.allclose(found.values, values.flip(0)[:2], rtol=1e-4) and found.linear == pytest.approx(1, abs=1e-6)


def test_sefa_in_w_stacks_every_affine_layer() -> None:
    net = Styled()
    net.synthesis.affine[1] = EqualLinear(7, 8, lr_multiplier=0.3)  # a weight that is scaled when it is used
    found = sefa(model_of(net), k=7)
    assert found.space == "w"
    a = torch.cat([layer.weight.detach() for layer in net.synthesis.affine]).double()
    assert torch.allclose(found.values, torch.linalg.svdvals(a).square(), rtol=1e-3)


def test_ganspace_in_w_is_the_principal_components_of_styles() -> None:
    model = model_of(Styled())
    found = ganspace(model, k=2, n=600)
    w = style_of(model.game).w_of(model.game.latent(600, seed=0)).detach().double()
    values = torch.linalg.eigvalsh(torch.cov(w.T)).flip(0)
    assert torch.allclose(found.values, values[:2], rtol=1e-6)
    assert torch.allclose(found.scale, found.values.sqrt(), rtol=1e-6)
    assert torch.allclose((w @ found.vectors.T).var(0), found.values, rtol=1e-6)


@pytest.mark.parametrize("name", ["mlp", "dcgan", "r1gan", "mad-gan"])
@pytest.mark.parametrize("method", [sefa, ganspace])
def test_any_generator_has_directions(name: str, method) -> None:
    model = model_from(name)
    found = method(model, k=3)
    assert found.vectors.shape[1] == model.game.z_dim - (name == "mad-gan"), "a choice is no direction"
    assert bool((found.vectors.gather(1, found.vectors.abs().argmax(1, keepdim=True)) > 0).all())
    pictures = show(model, found, frames=3)
    assert pictures.shape == (3, 3, 1, 8, 8)
    assert torch.allclose(pictures[:, 1], model.sample(1).expand(3, -1, -1, -1), atol=1e-4), "the middle has not moved"
    assert not torch.equal(pictures[:, 0], pictures[:, 2])


def test_a_class_is_held_while_directions_are_found() -> None:
    found = sefa(conditional(Styled(classes=3)), space="z", k=2)
    assert found.vectors.shape == (2, 5) and found.linear == pytest.approx(1, abs=1e-4)


def test_nothing_to_ask_is_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        sefa(model_from("mlp"), k=0)
    with pytest.raises(InputError, match="at least 2"):
        ganspace(model_from("mlp"), n=1)
