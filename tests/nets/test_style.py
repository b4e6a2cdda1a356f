"""StyleGAN 1 and 2: the papers' sizes, modulation, styles, noise, truncation, derivatives of second order."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.held import draws, hold
from gantlet.nets.mapping import MappingNetwork, Noise, styles
from gantlet.nets.resample import HalvingConv, convolved_up
from gantlet.nets.style import StyleGenerator
from gantlet.nets.style2 import Style2Critic, Style2Generator, StyledConv, modulated
from helpers import number

SPEC = Spec((3, 16, 16))
NARROW = {"z": 6, "w": 8, "width": 4, "widest": 8}
each_generator = pytest.mark.parametrize("kind", [StyleGenerator, Style2Generator])


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# ---- what the papers say ------------------------------------------------------------------------------------------


def test_stylegan_at_1024_is_the_paper_s() -> None:
    """26.2 million (section 2 of the paper); with the colours of all nine sizes 26,219,627. 18 layers take a style."""
    with torch.device("meta"):
        G = StyleGenerator(Spec((3, 1024, 1024)), width=16)
        assert round(count(G) / 1e6, 1) == 26.2
        G.grow()
    assert count(G) == 26_219_627
    assert G.synthesis.layers == 18


@pytest.mark.parametrize(
    ("size", "width", "layers", "generator", "critic"),
    [
        (1024, 32, 8, 30_370_060, 29_012_513),  # configuration F
        (1024, 32, 2, 28_794_124, 29_012_513),  # with two mapping layers, as the code of ADA prints it
        (256, 128, 8, 30_034_338, 28_864_129),  # configuration F of 256 x 256: 2^15 / 256 channels
        (256, 64, 8, 24_767_458, 24_001_089),  # ADA's paper256: half the channels
    ],
)
def test_stylegan2_is_as_large_as_the_official_one(
    size: int, width: int, layers: int, generator: int, critic: int
) -> None:
    spec = Spec((3, size, size))
    with torch.device("meta"):
        G, D = (
            Style2Generator(spec, width=width, mapping_layers=layers),
            Style2Critic(spec, width=width, minibatch_std=True),
        )
    assert (count(G), count(D)) == (generator, critic)
    assert G.synthesis.layers == 2 * len(bin(size)[3:]) - 2


# ---- modulation ---------------------------------------------------------------------------------------------------


def explicit(x: Tensor, weight: Tensor, style: Tensor, *, up: bool) -> tuple[Tensor, Tensor]:
    """Equations 1 and 3 of the paper, a row at a time; and the weights, [N, o, i, k, k]."""
    own = style[:, None, :, None, None] * weight
    own = own / torch.sqrt(own.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    rows = [convolved_up(r[None], w) if up else F.conv2d(r[None], w, padding=1) for r, w in zip(x, own)]
    return torch.cat(rows), own


@pytest.mark.parametrize("up", [False, True])
def test_scaled_inputs_and_outputs_are_modulated_weights(up: bool) -> None:
    x, weight, style = torch.randn(4, 5, 6, 7), torch.randn(3, 5, 3, 3), 1 + 2 * torch.randn(4, 5)
    said, own = explicit(x, weight, style, up=up)
    assert torch.allclose(own.square().sum((2, 3, 4)), torch.ones(4, 3), atol=1e-5)  # unit norm
    assert torch.allclose(modulated(x, weight, style, up=up), said, atol=1e-5)
    assert torch.allclose(modulated(x, weight, 7 * style, up=up), said, atol=1e-5)  # only proportions matter
    plain = modulated(x, weight, style, demodulate=False)
    assert torch.allclose(plain[2:3], F.conv2d(x[2:3], style[2, None, :, None, None] * weight, padding=1), atol=1e-4)


def test_a_demodulated_layer_keeps_the_variance() -> None:
    """Unit variance in, about unit variance out, whatever the style (what instance norm did, section 2.2)."""
    layer = StyledConv(8, 64, 64, layer=0, up=False)
    for scale in (0.1, 10.0):
        x = modulated(torch.randn(8, 64, 16, 16), layer.conv.weight, scale * torch.rand(8, 64))
        assert number(x[..., 1:-1, 1:-1].std()) == pytest.approx(1, rel=0.1)


def test_instance_norms_take_their_gain_and_shift_from_the_style() -> None:
    """StyleGAN 1: after the last norm of a layer each channel's mean is b and its deviation |1 + s|."""
    adapt = StyleGenerator(SPEC, **NARROW).synthesis.adapts[3]
    x, w = 5 * torch.randn(4, 8, 9, 9) + 2, torch.randn(4, 8)
    made, told = adapt(x, w, None), adapt.affine(w)
    assert torch.allclose(made.mean((2, 3)), told[:, 8:], atol=1e-5)
    assert torch.allclose(made.std((2, 3), correction=0), (1 + told[:, :8]).abs(), atol=1e-4)


# ---- styles -------------------------------------------------------------------------------------------------------


@each_generator
def test_the_mean_style_moves_only_in_training(kind: type[nn.Module]) -> None:
    """Half of the way to the mean of the batch's styles in 11,000 images."""
    G = kind(SPEC, **NARROW, mixing=0.0)
    z = torch.randn(5, 6)
    G.eval()(z)
    assert number(G.w_mean.abs().max()) == 0
    G.train()(z)
    assert torch.allclose(G.w_mean, (1 - 0.5 ** (5 / 11_000)) * G.mapping.eval()(z).mean(0), rtol=1e-3, atol=1e-9)
    before = G.w_mean.clone()
    G.eval()(z), G.synthesis(G.mapping(z))
    assert torch.equal(before, G.w_mean)
    assert "mapping.w_mean" in G.state_dict()


@each_generator
def test_generating_is_mapping_then_synthesis(kind: type[nn.Module]) -> None:
    G = kind(SPEC, **NARROW).eval()
    z = torch.randn(4, 6)
    w = G.mapping(z)
    assert w.shape == (4, 8)
    assert torch.allclose(G(z), G.synthesis(w, z), atol=1e-6)
    each = w.unsqueeze(1).repeat(1, G.synthesis.layers, 1)
    assert torch.allclose(G.synthesis(each, z), G.synthesis(w, z), atol=1e-6)
    each[:, -1] = w.flip(0)  # the last style changes colours, not all there is
    assert not torch.allclose(G.synthesis(each, z), G(z), atol=1e-4)
    centre = G.synthesis(G.w_mean.expand(2, -1))
    assert torch.allclose(centre[0], centre[1])


def test_the_mean_style_counts_images_not_batches() -> None:
    """By then 0.75 of the way, however the images came: in batches, in pieces, with styles mixed in or not."""
    z = torch.randn(1, 6).expand(64, -1)
    for rows, mixing in ((64, 0.0), (8, 0.0), (8, 0.9)):
        torch.manual_seed(0)
        mapping = MappingNetwork(6, 8, layers=1, half_life_images=32)
        for part in z.split(rows):
            styles(mapping, part, None, layers=4, mixing=mixing)
        assert torch.allclose(mapping.w_mean, 0.75 * mapping.mapped(z)[0], atol=1e-5)


def test_styles_are_mixed_among_the_layers_in_use() -> None:
    """Of a generator that is still growing: a layer that nobody reads yet is no place to change styles."""
    mapping, z = MappingNetwork(6, 8, layers=2), torch.randn(300, 6)
    mixed = styles(mapping, z, None, layers=8, mixing=1.0, used=4)
    own = torch.isclose(mixed, mapping.mapped(z).unsqueeze(1), atol=1e-6).all(2)
    assert sorted(set(own.sum(1).tolist())) == [1, 2, 3]
    G = StyleGenerator(SPEC, **NARROW)
    assert G.synthesis.used == G.synthesis.layers == 6
    growth = G.grow()
    for level, used in ((0.0, 2), (0.5, 4), (1.0, 4), (2.0, 6)):
        growth.set(level)
        assert G.synthesis.used == used
    growth.set(0.0)
    seen: list[Tensor] = []
    G.synthesis.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    G.mixing = 1.0
    G(z)
    assert not torch.isclose(seen[0][:, 0], seen[0][:, 1]).all(1).any()  # the two layers there are, never alike


def test_styles_are_mixed_only_in_training() -> None:
    """Of a share of the rows the layers from some layer on have another style; which follows from the latent."""
    mapping = MappingNetwork(6, 8, layers=2)
    z = torch.randn(2000, 6)
    mixed = styles(mapping, z, None, layers=5, mixing=0.9)
    one = styles(mapping.eval(), z, None, layers=5, mixing=0.9)
    assert torch.equal(one, mapping(z).unsqueeze(1).expand(-1, 5, -1))
    own = torch.isclose(mixed, one, atol=1e-6).all(2)
    assert bool(own[:, 0].all())
    assert bool((own[:, :-1] | ~own[:, 1:]).all())  # once another's, always another's
    begins = own.sum(1).bincount(minlength=6)[1:] / len(z)  # how many layers are a row's own
    assert begins.tolist() == pytest.approx([0.225, 0.225, 0.225, 0.225, 0.1], abs=0.03)
    again = styles(mapping.train(), z[7:9], None, layers=5, mixing=0.9)
    assert torch.allclose(again, mixed[7:9], atol=1e-6)
    assert torch.allclose(styles(mapping, z, None, layers=5, mixing=0.0), one, atol=1e-6)


def test_the_class_is_part_of_the_style() -> None:
    mapping = MappingNetwork(6, 8, layers=2, classes=3).eval()
    z, y = torch.randn(4, 6), torch.tensor([0, 1, 2, 0])
    assert not torch.isclose(mapping(z, y), mapping(z, (y + 1) % 3)).all(1).any()
    assert torch.allclose(mapping(3 * z, y), mapping(z, y), atol=1e-4)  # z is put on the sphere
    with pytest.raises(InputError, match="told which of 3 classes"):
        mapping(z)
    D = Style2Critic(Spec((1, 8, 8), classes=3), width=4, widest=8)
    x = torch.randn(4, 1, 8, 8)
    assert not torch.isclose(D(x, y).logits, D(x, (y + 1) % 3).logits).any()


# ---- noise --------------------------------------------------------------------------------------------------------


def test_noise_follows_the_latent() -> None:
    noise = Noise(3)
    x, z = torch.zeros(500, 2, 8, 8), torch.randn(500, 6)
    assert torch.equal(noise(x, z), x)  # nothing before it is learnt
    nn.init.constant_(noise.strength, 0.5)
    drawn = noise(x, z).detach()
    assert torch.equal(drawn[:, 0], drawn[:, 1])  # one map for all channels
    assert number(drawn.std()) == pytest.approx(0.5, rel=0.02)
    assert torch.equal(noise(x[:2], z[5:7]), drawn[5:7])
    assert not torch.isclose(drawn[0], drawn[1]).all()
    other = Noise(4)
    nn.init.constant_(other.strength, 0.5)
    assert not torch.isclose(other(x[:1], z[:1]), drawn[:1]).any()
    fixed = noise(x, None)
    assert torch.equal(fixed[0], fixed[1])
    assert torch.equal(fixed, noise(x, None))


@each_generator
def test_noise_is_heard_once_it_is_learnt(kind: type[nn.Module]) -> None:
    G = kind(SPEC, **NARROW).eval()
    z = torch.randn(3, 6)
    w = G.mapping(z)
    assert torch.allclose(G.synthesis(w, z), G.synthesis(w), atol=1e-6)
    for module in G.modules():
        if isinstance(module, Noise):
            nn.init.constant_(module.strength, 0.3)
    assert not torch.allclose(G.synthesis(w, z), G.synthesis(w), atol=1e-3)
    assert torch.allclose(G.synthesis(w[1:], z[1:]), G.synthesis(w, z)[1:], atol=1e-5)


@each_generator
def test_noise_may_be_held(kind: type[nn.Module]) -> None:
    """Then it is the fixed one, whatever the latent; afterwards it follows the latent again."""
    G = kind(SPEC, **NARROW).eval()
    for module in G.modules():
        if isinstance(module, Noise):
            nn.init.constant_(module.strength, 0.3)
    z = torch.randn(3, 6)
    free = G(z)
    with hold(G):
        assert torch.allclose(G(z), G.synthesis(G.mapping(z)), atol=1e-6)
    assert torch.equal(G(z), free)
    assert not torch.allclose(G.synthesis(G.mapping(z)), free, atol=1e-3)
    assert draws(G)


# ---- half precision -----------------------------------------------------------------------------------------------


def test_large_styles_survive_half_precision() -> None:
    """Only their proportions matter; the square of 300 is beyond what half precision knows."""
    layer, x, w = StyledConv(8, 16, 16, layer=0, up=False), torch.randn(2, 16, 8, 8), torch.randn(2, 8)
    with torch.no_grad():
        layer.affine.raw_bias.fill_(300.0)
        wanted = layer(x, w, None)
        with torch.autocast("cpu", torch.float16):
            found = layer(x, w, None)
    assert number(wanted.std()) > 0.3
    assert torch.allclose(found.float(), wanted, atol=0.05)


# ---- filters ------------------------------------------------------------------------------------------------------


def test_one_filter_stands_for_the_papers_two() -> None:
    """Nearest neighbour, convolution, [1, 2, 1] on the way up, [1, 2, 1], convolution, the mean of pairs on the way down:
    inside the border they are one convolution and [1, 3, 3, 1].
    """
    x, weight = torch.randn(2, 3, 12, 12), torch.randn(4, 3, 3, 3)
    taps = torch.tensor([1.0, 2.0, 1.0]) / 4

    def smooth(x: Tensor) -> Tensor:
        return F.conv2d(x, (taps[:, None] * taps).expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])

    up = smooth(F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight.flip(2, 3), padding=1))
    assert torch.allclose(convolved_up(x, weight)[..., 3:-3, 3:-3], up[..., 3:-3, 3:-3], atol=1e-4)
    halve = HalvingConv(3, 4)
    down = F.avg_pool2d(F.conv2d(smooth(x), halve.weight, padding=1), 2)
    assert torch.allclose(halve(x)[..., 2:-2, 2:-2], down[..., 2:-2, 2:-2], atol=1e-5)


# ---- derivatives of second order ----------------------------------------------------------------------------------


def test_r1_of_the_critic_has_a_gradient() -> None:
    D = Style2Critic(SPEC, width=4, widest=8, minibatch_std=True).double()
    x = torch.randn(4, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(D(x).logits.sum(), x, create_graph=True)
    slope.square().sum(dim=(1, 2, 3)).mean().backward()
    moved = [p.grad for name, p in D.named_parameters() if name != "head.out.raw_bias"]
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in moved)
    assert all(number(g.abs().max()) > 0 for g in moved if g.dim() > 1)


@each_generator
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_length_of_a_path_has_a_gradient(kind: type[nn.Module], dtype: torch.dtype) -> None:
    """J^T y in w, and what it takes to shorten it, finite for every weight of the synthesis that it goes through."""
    G = kind(SPEC, **NARROW).to(dtype)
    z = torch.randn(4, 6, dtype=dtype)
    w = styles(G.mapping, z, None, layers=G.synthesis.layers, mixing=0.9)
    x = G.synthesis(w, z)
    assert x.dtype == dtype
    (pull,) = torch.autograd.grad((x * torch.randn_like(x)).sum(), w, create_graph=True)
    pull.square().sum((1, 2)).mean().backward()
    found = [p.grad for p in G.parameters() if p.grad is not None]
    assert all(bool(torch.isfinite(g).all()) for g in found)
    assert all(number(p.grad.abs().max()) > 0 for p in G.mapping.parameters())
    assert sum(number(g.abs().max()) > 0 for g in found if g.dim() > 1) >= 12
