"""Transformers: attention by hand, patches cut and put together, styles, classes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.nets.vit import Attention, Block, Norm, ViTCritic, ViTGenerator, assembled, attend, cut

SMALL = {"width": 8, "heads": 2, "depth": 2}


def test_attention_by_hand() -> None:
    """Row by row: sum_j softmax_j(q_i . k_j / sqrt d) v_j."""
    q, k, v = torch.randn(3, 2, 5, 4, dtype=torch.float64).unbind()
    out = attend(q, k, v)
    for n in range(2):
        for i in range(5):
            scores = torch.stack([(q[n, i] * k[n, j]).sum() / math.sqrt(4) for j in range(5)]).exp()
            want = sum(scores[j] / scores.sum() * v[n, j] for j in range(5))
            assert torch.allclose(out[n, i], want)
    fused = nn.functional.scaled_dot_product_attention(q, k, v)
    assert torch.allclose(out, fused)


def test_heads_attend_alone() -> None:
    """torch's own multi-head attention, with the same weights, says the same."""
    mine = Attention(12, 3)
    other = nn.MultiheadAttention(12, 3, batch_first=True)
    with torch.no_grad():
        other.in_proj_weight.copy_(mine.read.weight)
        other.in_proj_bias.copy_(mine.read.bias)
        other.out_proj.weight.copy_(mine.write.weight)
        other.out_proj.bias.copy_(mine.write.bias)
    x = torch.randn(2, 7, 12)
    assert torch.allclose(mine(x), other(x, x, x, need_weights=False)[0], atol=1e-5)


def test_norms_make_rows_of_size_one() -> None:
    x = 7 * torch.randn(3, 4, 16)
    assert torch.allclose(Norm(16, scale=False)(x).square().mean(-1), torch.ones(3, 4), atol=1e-4)
    assert torch.allclose(Norm(16)(x), nn.functional.rms_norm(x, (16,), eps=1e-6), atol=1e-6)


def test_patches_are_cut_and_put_together() -> None:
    x = torch.arange(2 * 3 * 6 * 4.0).view(2, 3, 6, 4)
    tokens = cut(x, 2)
    assert tokens.shape == (2, 6, 12)
    assert torch.equal(tokens[0, 1].view(3, 2, 2), x[0, :, :2, 2:])
    assert torch.equal(assembled(tokens, (3, 2), 2), x)


def test_a_style_of_nothing_changes_nothing() -> None:
    """With w = 0 shifts, scales and gates are their biases', zero: the plain block."""
    styled = Block(8, heads=2, depth=1, styled=True)
    plain = Block(8, heads=2, depth=1, styled=False)
    plain.load_state_dict({k: v for k, v in styled.state_dict().items() if "modulate" not in k}, strict=False)
    x = torch.randn(2, 5, 8)
    assert torch.allclose(styled(x, torch.zeros(2, 8)), plain(x), atol=1e-6)
    assert not torch.allclose(styled(x, torch.ones(2, 8)), plain(x), atol=1e-2)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 17, 31), (2, 4, 5)])
@pytest.mark.parametrize("patch", [1, 3, 4])
def test_patches_need_not_divide_the_image(shape: tuple[int, ...], patch: int) -> None:
    G, D = ViTGenerator(Spec(shape), patch=patch, **SMALL), ViTCritic(Spec(shape), patch=patch, **SMALL)
    x = G(torch.randn(2, 64))
    assert x.shape == (2, *shape)
    said = D(x)
    tokens = 1 + math.prod(-(-side // patch) for side in shape[1:])
    assert [f.shape for f in said.features] == [(2, tokens, 8)] * 2


def test_the_order_of_patches_matters() -> None:
    """Without learned places attention would see a bag of them."""
    D = ViTCritic(Spec((1, 8, 8)), **SMALL)
    x = torch.randn(2, 1, 8, 8)
    assert not torch.allclose(D(x).logits, D(x.flip(3).view(2, 1, 8, 2, 4).flip(4).reshape(2, 1, 8, 8)).logits)
    nn.init.zeros_(D.places)
    swapped = torch.cat([x[..., 4:], x[..., :4]], 3)
    assert torch.allclose(D(x).logits, D(swapped).logits, atol=1e-5)


def test_slopes_have_finite_slopes() -> None:
    D = ViTCritic(Spec((2, 9, 8)), **SMALL)
    x = torch.randn(3, 2, 9, 8, requires_grad=True)
    (slope,) = torch.autograd.grad(D(x).logits.sum(), x, create_graph=True)
    slope.square().sum().backward()
    for name, weight in D.named_parameters():
        if name != "say.bias":  # a constant has no slope
            assert weight.grad is not None, name
            assert bool(torch.isfinite(weight.grad).all()), name
            assert float(weight.grad.abs().max()) > 0, name


def test_classes_are_heard() -> None:
    spec = Spec((1, 8, 8), classes=3)
    G, D = ViTGenerator(spec, **SMALL), ViTCritic(spec, **SMALL)
    z, y = torch.randn(4, 64), torch.tensor([0, 1, 2, 0])
    assert not torch.equal(G(z, y), G(z, (y + 1) % 3))
    x = torch.randn(4, 1, 8, 8)
    h = D.norm(D(x, y).features[-1][:, 0])
    gap = D(x, y).logits - D(x, (y + 1) % 3).logits
    assert torch.allclose(gap, (h * (D.embed.weight[y] - D.embed.weight[(y + 1) % 3])).sum(1), atol=1e-5)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(InputError, match=r"width 10 does not divide over 4 heads; .* or heads=2"):
        ViTGenerator(Spec((1, 8, 8)), width=10, heads=4)


def test_a_class_that_is_not_told_is_asked_for() -> None:
    spec = Spec((1, 8, 8), classes=3)
    for net, x in (
        (ViTGenerator(spec, z=6, width=8), torch.randn(2, 6)),
        (ViTCritic(spec, width=8), torch.randn(2, 1, 8, 8)),
    ):
        with pytest.raises(InputError, match="told which of 3 classes"):
            net(x)
