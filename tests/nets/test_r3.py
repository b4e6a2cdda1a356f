"""R3GAN's networks: the paper's counts, branches that begin at zero, resampling by hand, classes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.nets.r3 import Block, R3Critic, R3Generator, doubled, halved

SMALL = {"width": 8, "widest": 16}


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def filled(net: nn.Module) -> nn.Module:
    """Branches that say something, as after some steps."""
    for module in net.modules():
        if isinstance(module, Block):
            nn.init.normal_(module.narrow.weight, std=0.3)
    return net


def test_the_counts_of_the_paper() -> None:
    """Table 2, config E at 256 x 256: G 23.058 M, D 23.010 M."""
    spec = Spec((3, 256, 256))
    with torch.device("meta"):
        assert round(count(R3Generator(spec)) / 1e6, 3) == 23.058
        assert round(count(R3Critic(spec)) / 1e6, 3) == 23.010


def test_cifar_10_layer_by_layer() -> None:
    """Four sizes, two blocks each, 768 channels and 1536 in 96 groups of 16; ten classes of ten numbers."""
    block = 768 * 1536 + 1536 + 1536 * 16 * 9 + 1536 + 1536 * 768
    spec = Spec((3, 32, 32), classes=10)
    with torch.device("meta"):
        G, D = R3Generator(spec, width=768), R3Critic(spec, width=768)
    assert count(G) == 8 * block + 768 * 16 + (64 + 10) * 768 + 10 * 10 + 768 * 3 == 20_739_940
    assert count(D) == 8 * block + 3 * 768 + 768 * 16 + 768 * 10 + 10 * 10 == 20_690_788
    mixers = [m.mix for m in G.modules() if isinstance(m, Block)]
    assert len(mixers) == 8
    assert {(m.groups, m.in_channels // m.groups) for m in mixers} == {(96, 16)}


def test_branches_begin_at_exactly_zero() -> None:
    block = Block(12, blocks=5, expand=2, group=4)
    x = torch.randn(3, 12, 6, 6)
    assert torch.equal(block(x), x)
    block(x).square().sum().backward()
    assert float(block.narrow.weight.grad.abs().max()) > 0  # and learn from the first step on


def test_a_critic_is_linear_at_the_start() -> None:
    """Only the branches bend, so D(a x + b y) = a D(x) + b D(y)."""
    D = R3Critic(Spec((2, 17, 12)), **SMALL)
    x, y = torch.randn(2, 5, 2, 17, 12).unbind()
    want = 2 * D(x).logits - 3 * D(y).logits
    assert torch.allclose(D(2 * x - 3 * y).logits, want, atol=1e-5)
    filled(D)
    assert not torch.allclose(D(2 * x - 3 * y).logits, 2 * D(x).logits - 3 * D(y).logits, atol=1e-2)


def test_layers_keep_the_variance() -> None:
    """Of what goes in: the moves as it is, a branch's inner layers times L^(-1/2) each, L the number of blocks."""
    torch.manual_seed(0)
    G = R3Generator(Spec((3, 32, 32)), width=64, widest=512, blocks=2).requires_grad_(False)
    x = torch.randn(8, 512, 8, 8)
    assert float(G.moves[0](x).var()) == pytest.approx(1, rel=0.15)
    h = G.basis * G.scale(torch.randn(256, 64))[:, :, None, None]
    assert float(h.var()) == pytest.approx(1, rel=0.15)
    block = G.stages[0][0]
    inner = block.bend(block.widen(x))
    assert float(inner.square().mean()) == pytest.approx(8**-0.5, rel=0.15)  # eight blocks: (8^(-1/4))^2
    assert float(block.bend(block.mix(inner)).square().mean()) == pytest.approx(8**-1.0, rel=0.3)


def test_resampling_by_hand() -> None:
    x = torch.tensor([1.0, 3.0, 7.0])
    rows = x.view(1, 1, 1, 3).expand(1, 1, 4, 3)
    assert doubled(rows)[0, 0, 5].tolist() == [1, 2, 3, 5, 7, 7]
    assert doubled(rows.transpose(2, 3))[0, 0, :, 2].tolist() == [1, 2, 3, 5, 7, 7]
    assert halved(rows)[0, 0, 1].tolist() == [(1 + 2 * 1 + 3) / 4, (3 + 2 * 7 + 7) / 4]  # ceil(3 / 2), borders repeated
    assert halved(torch.ones(1, 2, 5, 8)).eq(1).all()
    assert halved(torch.ones(1, 2, 5, 8)).shape == (1, 2, 3, 4)


def test_half_the_size_is_the_adjoint_of_twice() -> None:
    """<up(x), y> = 4 <x, down(y)>, away from the border."""
    x, y = torch.zeros(1, 1, 6, 6), torch.zeros(1, 1, 12, 12)
    x[..., 1:-1, 1:-1], y[..., 2:-2, 2:-2] = torch.randn(1, 1, 4, 4), torch.randn(1, 1, 8, 8)
    assert float((doubled(x) * y).sum()) == pytest.approx(4 * float((x * halved(y)).sum()), abs=1e-5)


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 17, 31), (3, 4, 5)])
def test_slopes_have_finite_slopes(shape: tuple[int, ...]) -> None:
    """What R1 needs: the gradient of |grad D|^2 reaches every weight of the branches."""
    D = filled(R3Critic(Spec(shape), **SMALL))
    x = torch.randn(3, *shape, requires_grad=True)
    (slope,) = torch.autograd.grad(D(x).logits.sum(), x, create_graph=True)
    slope.square().sum().backward()
    for name, weight in D.named_parameters():
        if not name.endswith("mix.bias"):  # the last bend's kinks have no slope in it
            assert weight.grad is not None, name
            assert bool(torch.isfinite(weight.grad).all()), name
    assert float(D.say.weight.grad.abs().max()) > 0


def test_classes_are_heard() -> None:
    """G concatenates an embedding to z; D's logit is <W h, e_y>."""
    spec = Spec((1, 8, 8), classes=3)
    G, D = R3Generator(spec, **SMALL), R3Critic(spec, embedding=5, **SMALL)
    z, y = torch.randn(4, 64), torch.tensor([0, 1, 2, 0])
    assert not torch.equal(G(z, y), G(z, (y + 1) % 3))
    x = torch.randn(4, 1, 8, 8)
    said = D(x, y)
    want = torch.einsum("ne,ne->n", said.features[-1] @ D.say.weight.T, D.embed.weight[y])
    assert torch.allclose(said.logits, want, atol=1e-6)
    assert D.say.out_features == 5
    assert G.scale.in_features == 64 + 3


def test_what_decoders_may_read() -> None:
    """The two smallest maps, each halved as often as is said."""
    for shape in ((1, 8, 8), (3, 36, 48)):
        D = R3Critic(Spec(shape), **SMALL)
        features = D(torch.randn(2, *shape)).features
        for place, channels, halvings in D.decodable:
            sides = tuple(-(-side // 2**halvings) for side in shape[1:])
            assert features[place].shape == (2, channels, *sides)


def test_a_class_that_is_not_told_is_asked_for() -> None:
    spec = Spec((1, 8, 8), classes=3)
    for net, x in (
        (R3Generator(spec, z=6, width=8, widest=8), torch.randn(2, 6)),
        (R3Critic(spec, width=8, widest=8), torch.randn(2, 1, 8, 8)),
    ):
        with pytest.raises(InputError, match="told which of 3 classes"):
            net(x)
