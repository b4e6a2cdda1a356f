"""Orthogonality of filters, by hand."""

from __future__ import annotations

import pytest
import torch
from penalty_cases import Linear, made, seen
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.losses.weights import filters
from gantlet.nets.equalised import EqualLinear
from gantlet.nets.r3 import R3Generator
from gantlet.nets.style import StyleGenerator
from gantlet.nets.style3 import Style3Generator
from gantlet.nets.vit import ViTGenerator
from helpers import number

F64 = torch.float64


def holding(layer: nn.Module, weight: Tensor) -> nn.Module:
    layer.double()
    with torch.no_grad():
        layer.weight.copy_(weight.view_as(layer.weight))
    return layer


def overlap(net: nn.Module) -> float:
    """On a critic with this network's weights, weight 1."""
    critic = Linear()
    critic.net = net
    return number(made("orthogonal", weight=1.0).term(seen(critic)))


M = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=F64)


def test_filters_are_rows_of_a_linear_map() -> None:
    """(1, 2) . (3, 4) = 11, which stands twice off the diagonal."""
    assert overlap(holding(nn.Linear(2, 2), M)) == pytest.approx(2 * 11**2)
    assert overlap(holding(nn.Linear(2, 2, bias=False), M)) == pytest.approx(2 * 11**2)


def test_norms_do_not_matter_to_filters_at_right_angles() -> None:
    q, _ = torch.linalg.qr(torch.rand(5, 5, dtype=F64))
    scaled = torch.diag(torch.arange(1.0, 6.0, dtype=F64)) @ q
    assert overlap(holding(nn.Linear(5, 5), scaled)) == pytest.approx(0, abs=1e-20)


def test_filters_of_convolutions() -> None:
    """[out, in k k]; of a transposed one, whose weight is [in, out, k, k], those that make an output channel."""
    assert overlap(holding(nn.Conv2d(2, 2, 1), M)) == pytest.approx(2 * 11**2)
    assert overlap(holding(nn.Conv2d(1, 2, (1, 2)), M)) == pytest.approx(2 * 11**2)
    back = 1 * 2 + 3 * 4
    assert overlap(holding(nn.ConvTranspose2d(2, 2, 1), M)) == pytest.approx(2 * back**2)
    wrapped = spectral_norm(holding(nn.ConvTranspose2d(2, 2, 1), M))
    assert overlap(wrapped) == pytest.approx(2 * back**2)  # of the weight before it is normalised


def test_what_is_left_out() -> None:
    frozen = holding(nn.Linear(2, 2), M).requires_grad_(False)
    assert overlap(nn.ModuleList([nn.Embedding(4, 3).double(), frozen, nn.LayerNorm(3).double()])) == 0


def test_networks_add_up_and_shared_weights_count_once() -> None:
    layer = holding(nn.Linear(2, 2), M)
    assert overlap(nn.ModuleList([layer, layer])) == pytest.approx(2 * 11**2)
    assert overlap(nn.ModuleList([layer, holding(nn.Linear(2, 2), 2 * M)])) == pytest.approx(2 * 11**2 * (1 + 16))


def test_the_generator_on_request() -> None:
    G = holding(nn.Linear(2, 2), M)
    both = made("orthogonal", weight=1.0, generator=True)
    assert number(both.g_term(seen(Linear(), G=G))) == pytest.approx(2 * 11**2)
    assert made("orthogonal").g_term is None
    assert made("orthogonal", critics=False, generator=True).term is None
    with pytest.raises(InputError, match="critics and generator are both false"):
        made("orthogonal", critics=False)
    with pytest.raises(InputError, match="generator=False"):
        both.g_term(seen(Linear())._replace(G=None))


def test_weights_that_others_stand_in_for() -> None:
    """Unrolled play evaluates a network with other tensors in its weights' place: those are penalised."""

    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = holding(nn.ConvTranspose2d(2, 2, 1, bias=False), torch.eye(2, dtype=F64))

        def forward(self) -> Tensor:
            return torch.stack([(f @ f.T - torch.diag((f @ f.T).diagonal())).square().sum() for f in filters(self)])

    other = M.view(2, 2, 1, 1).clone().requires_grad_()
    said = torch.func.functional_call(Holder(), {"layer.weight": other}, ())
    assert said.tolist() == pytest.approx([2 * 14**2])
    assert torch.autograd.grad(said.sum(), other)[0].abs().sum() > 0


def test_only_layers_have_filters() -> None:
    """Biases, strengths of noise, learnt maps and tokens of two dimensions and more are none."""

    class Extras(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.start, self.tokens = nn.Parameter(torch.ones(4, 2, 2)), nn.Parameter(torch.ones(3, 2))
            self.bias = nn.Parameter(torch.ones(2, 1, 1))

    assert overlap(nn.ModuleList([Extras().double(), holding(nn.Linear(2, 2), M)])) == pytest.approx(2 * 11**2)
    spec = Spec((1, 8, 8))
    for G in (
        StyleGenerator(spec, z=6, w=8, width=4, widest=8),
        R3Generator(spec, z=6, width=8, widest=8),
        ViTGenerator(spec, z=6, width=8),
    ):
        layers = [m for m in G.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        assert len(filters(G)) == len(layers) < sum(p.dim() > 1 for p in G.parameters())


def test_an_equalised_layer_has_the_filters_it_multiplies_by() -> None:
    layer = EqualLinear(2, 2, lr_multiplier=0.01).double()
    with torch.no_grad():
        layer.raw.copy_(M / layer.scale)
    assert overlap(layer) == pytest.approx(2 * 11**2)
    layer.requires_grad_(False)
    assert overlap(layer) == 0


def test_normalised_weights_count_before_and_alias_free_ones_too() -> None:
    assert overlap(spectral_norm(holding(nn.Linear(2, 2), M))) == pytest.approx(2 * 11**2)
    G = Style3Generator(Spec((1, 8, 8)), z=6, w=8, width=4, widest=8, frame=2)
    assert len(filters(G)) == len(G.mapping.body) // 2 + 1 + 2 * len(G.synthesis.body)
