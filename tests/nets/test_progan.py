"""ProGAN: the paper's sizes, the equalised learning rate, pixel norm, the statistic of the batch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.games.widened import widened
from gantlet.losses.weights import filters
from gantlet.nets.equalised import EqualConv2d, EqualLinear, Leaky, pixel_norm
from gantlet.nets.mapping import ClassHead
from gantlet.nets.progan import MinibatchStd, ProGANCritic, ProGANGenerator
from gantlet.nets.resample import HalvingConv, blurred, blurred_down, blurred_up, convolved_up
from gantlet.tricks.beside import Beside, Head, Read
from helpers import number

FACES = Spec((3, 1024, 1024))


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_progan_at_1024_is_the_paper_s_table_2() -> None:
    """23.1 million each; with the colours of all nine sizes 23,079,115 and 23,087,249."""
    with torch.device("meta"):
        G, D = ProGANGenerator(FACES, width=16), ProGANCritic(FACES, width=16, minibatch_std=True)
        assert (round(count(G) / 1e6, 1), round(count(D) / 1e6, 1)) == (23.1, 23.1)
        G.grow(), D.grow()
        assert (count(G), count(D)) == (23_079_115, 23_087_249)
    assert G.widths == [512, 512, 512, 512, 256, 128, 64, 32, 16]


def test_weights_are_drawn_alike_and_scaled_by_their_inputs() -> None:
    """raw ~ N(0, 1) / m, weight = raw g m / sqrt(inputs): a layer of either kind keeps the variance of what it is given."""
    for layer, inputs in ((EqualLinear(400, 300), 400), (EqualConv2d(64, 80, 3), 576)):
        assert number(layer.raw.std()) == pytest.approx(1, rel=0.02)
        assert torch.allclose(layer.weight, layer.raw / math.sqrt(inputs))
    slow = EqualLinear(400, 300, lr_multiplier=0.01, bias_init=2.0)
    assert number(slow.raw.std()) == pytest.approx(100, rel=0.02)
    assert number(slow.weight.std()) == pytest.approx(1 / 20, rel=0.02)
    assert torch.allclose(slow.bias, torch.full((300,), 2.0))
    said = EqualLinear(400, 300)(torch.randn(500, 400))
    assert number(said.std()) == pytest.approx(1, rel=0.05)
    kept = Leaky()(torch.randn(100_000))
    assert number(kept.square().mean()) == pytest.approx(1.04, rel=0.02)  # 2 (1 + 0.2^2) / 2


def test_a_multiplied_learning_rate_moves_weights_that_much_less() -> None:
    """One step of Adam moves every raw weight by lr: weight and bias by m times what they move at m = 1."""
    moved = []
    for m in (1.0, 0.01):
        torch.manual_seed(0)
        layer = EqualLinear(6, 4, lr_multiplier=m)
        before = layer.weight.detach().clone(), layer.bias.detach().clone()
        opt = torch.optim.Adam(layer.parameters(), lr=1e-2, eps=1e-12)
        layer(torch.randn(8, 6)).square().sum().backward()
        opt.step()
        moved.append([(a - b).detach().abs() for a, b in zip(before, (layer.weight, layer.bias))])
    for fast, slow in zip(*moved):
        assert torch.allclose(0.01 * fast, slow, rtol=1e-2, atol=1e-7)


def test_pixel_norm_puts_every_place_on_the_sphere() -> None:
    x = 7 * torch.randn(3, 5, 4, 2)
    assert torch.allclose(pixel_norm(x).square().mean(1), torch.ones(3, 4, 2), atol=1e-5)
    assert torch.isfinite(pixel_norm(torch.full((1, 4), 3e4, dtype=torch.float16))).all()


def test_the_filter() -> None:
    """[1, 3, 3, 1] / 8 along each axis; up is its transpose times 4, and a constant stays what it was inside."""
    x = torch.zeros(1, 1, 7, 7)
    x[0, 0, 3, 3] = 1
    taps = torch.tensor([1.0, 3, 3, 1]) / 8
    assert torch.allclose(blurred(x, padding=2)[0, 0, 2:6, 2:6], taps[:, None] * taps)
    for resampled in (blurred_up, blurred_down):
        assert torch.allclose(resampled(torch.ones(2, 3, 8, 8))[..., 1:-1, 1:-1], torch.ones(()))
    a, b = torch.randn(2, 3, 8, 6), torch.randn(2, 3, 4, 3)
    assert torch.allclose((blurred_down(a) * b).sum(), (a * blurred_up(b)).sum() / 4, atol=1e-4)
    assert torch.autograd.gradgradcheck(blurred_up, torch.randn(1, 2, 2, 3, dtype=torch.float64, requires_grad=True))


def test_to_twice_the_size_in_one_convolution() -> None:
    """The same as zeros between, filtered, then convolved; away from the border, where the order is seen."""
    x, weight = torch.randn(2, 3, 6, 5), torch.randn(4, 3, 3, 3)
    twice = torch.nn.functional.conv2d(blurred_up(x), weight.flip(2, 3), padding=1)
    assert convolved_up(x, weight).shape == (2, 4, 12, 10)
    assert torch.allclose(convolved_up(x, weight)[..., 2:-2, 2:-2], twice[..., 2:-2, 2:-2], atol=1e-4)


@pytest.mark.parametrize("size", [(8, 8), (9, 8), (5, 7), (4, 5)])
def test_halving_rounds_down(size: tuple[int, int]) -> None:
    x = torch.randn(1, 2, *size)
    assert HalvingConv(2, 3)(x).shape[2:] == blurred_down(x).shape[2:] == (size[0] // 2, size[1] // 2)


def test_a_batch_without_variety_is_seen() -> None:
    """The statistic is the same for a group, and zero where all its rows are equal."""
    h = torch.randn(8, 3, 2, 2)
    h[4:] = h[4]
    seen = MinibatchStd(4)(h)
    assert seen.shape == (8, 4, 2, 2)
    assert torch.equal(seen[:, :3], h)
    assert number((seen[:4, 3] - seen[0, 3, 0, 0]).abs().max()) == 0
    assert number(seen[0, 3, 0, 0]) == pytest.approx(number(h[:4].std(0, correction=0).mean()), rel=1e-4)
    assert number(seen[4:, 3].max()) == pytest.approx(1e-4, rel=0.01)
    with pytest.raises(InputError, match=r"D.minibatch_std: 6 rows are not groups of 4"):
        MinibatchStd(4)(h[:6])


def test_a_critic_of_rows_or_of_groups() -> None:
    """Only with the statistic does a verdict depend on the other rows."""
    x = torch.randn(8, 1, 8, 8)
    for couples in (False, True):
        D = ProGANCritic(Spec((1, 8, 8)), width=4, widest=8, minibatch_std=couples)
        alone = torch.allclose(D(x).logits[:4], D(torch.cat([x[:2], x[6:]])).logits[[0, 1, 0, 1]], atol=1e-6)
        mixed = D(torch.cat([x[:2], x[4:6]])).logits[:2]
        assert torch.allclose(D(x).logits[:2], mixed, atol=1e-6) is not couples
        assert not alone


def test_the_class_turns_the_logit() -> None:
    """f W e(y) / sqrt(d), linear in f but for W's bias; without classes y is not looked at."""
    head = ClassHead(6, classes=3, layers=2)
    f, y = torch.randn(4, 6), torch.tensor([0, 1, 2, 0])
    base = head(torch.zeros(4, 6), y)
    assert torch.allclose(head(2 * f, y) - base, 2 * (head(f, y) - base), atol=1e-5)
    assert not torch.isclose(head(f, y), head(f, (y + 1) % 3)).any()
    assert ClassHead(6, classes=0, layers=2)(f).shape == (4,)
    with pytest.raises(InputError, match="told which of 3 classes"):
        head(f)


def test_the_class_turns_the_image() -> None:
    G = ProGANGenerator(Spec((1, 8, 8), classes=3), z=6, width=4, widest=8)
    z = torch.randn(4, 6)
    assert not torch.allclose(G(z, torch.zeros(4, dtype=torch.int64)), G(z, torch.ones(4, dtype=torch.int64)))
    assert torch.allclose(G(z, torch.arange(4) % 3), G(5 * z, torch.arange(4) % 3), atol=1e-4)  # z is on the sphere


# ---- what stands beside an equalised layer ------------------------------------------------------------------------


class Mean(nn.Module):
    """One number a row."""

    def forward(self, h: Tensor) -> Tensor:
        return h.flatten(1).mean(1, keepdim=True)


def raws(net: nn.Module) -> set[str]:
    """What is learnt of weights without a scale, by the module's kind."""
    return {type(m).__name__ for m in net.modules() if type(m) in (nn.Linear, nn.Conv2d, nn.Embedding, Head)}


@pytest.mark.parametrize("base", [EqualLinear(400, 1), EqualConv2d(400, 1, 1)])
def test_what_stands_beside_learns_at_the_equalised_rate(base: EqualLinear | EqualConv2d) -> None:
    """As large as the layer's weights, and moved by as much in a step of Adam, whatever width it has."""
    layer = Beside(base, Mean(), 1)
    assert raws(layer) == set()
    adam = torch.optim.Adam(layer.parameters(), lr=1e-3)
    before = [m.weight.detach().clone() for m in (base, layer.more)]
    h = torch.randn(5, 400) if isinstance(base, EqualLinear) else torch.randn(5, 400, 2, 2)
    layer(h + 1).sum().backward()
    adam.step()
    moves = [number((m.weight - old).abs().max()) for m, old in zip((base, layer.more), before)]
    assert moves[0] == pytest.approx(1e-3 / 20, rel=1e-3)
    assert moves[1] == pytest.approx(moves[0], rel=1e-3)


def test_other_heads_learn_at_the_equalised_rate() -> None:
    read = Read(EqualLinear(400, 1))
    for other in (Head(400, 3), nn.Embedding(3, 400)):
        read.like(other)
        assert raws(other) == set()
        assert number(other.weight.std()) == pytest.approx(1 / 20, rel=0.1)
        assert number(other.parametrizations.weight.original.std()) == pytest.approx(1, rel=0.1)
        assert len(filters(other)) == isinstance(other, Head)
    plain, normed = Head(400, 3), Head(400, 3)
    Read(nn.Linear(400, 1)).like(plain)
    assert not is_parametrized(plain)
    Read(spectral_norm(nn.Linear(400, 1))).like(normed)
    assert number(torch.linalg.matrix_norm(normed.weight, 2)) == pytest.approx(1, rel=0.05)


def test_a_wider_last_layer_learns_at_the_equalised_rate() -> None:
    """And what is put beside that follows it."""
    D = widened(ProGANCritic(Spec((1, 8, 8)), width=4, widest=8), 3)
    assert raws(D) == set()
    assert D.head.out.weight.shape == (3, 8)
    assert raws(Beside(D.head.out, Mean(), 1)) == set()
    assert all(bool(torch.isfinite(f).all()) for f in filters(D))
    assert torch.allclose(filters(D)[-1], D.head.out.weight)
