"""Residual networks: the papers' tables and parameter counts, the laws of their blocks, how they hear a class."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

import gantlet.nets  # noqa: F401 (importing registers)
from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.nets.biggan_deep import DeepDown, DeepUp
from gantlet.nets.layers import (
    ConditionalNorm,
    DownBlock,
    Projection,
    SelfAttention,
    SteadyNorm,
    UpBlock,
    attended,
    norm_by_class,
    norm_by_vector,
    twice,
)

CIFAR, STL, IMAGENET = Spec((3, 32, 32)), Spec((3, 48, 48)), Spec((3, 128, 128), classes=1000)
G32, D32 = {"width": 256, "widest": 256}, {"width": 128, "widest": 128, "smallest": 7, "plain": 2}
NARROW = {"width": 4, "widest": 8}


def made(kind: str, name: str, spec: Spec, **options: Any) -> nn.Module:
    built: nn.Module = registry.KINDS[kind].find(name).fn(spec, **options)
    return built


def count(kind: str, name: str, spec: Spec, **options: Any) -> int:
    """Parameters, without the memory for them."""
    with torch.device("meta"):
        return sum(p.numel() for p in made(kind, name, spec, **options).parameters())


def conv(a: int, b: int, kernel: int = 3) -> int:
    return a * b * kernel**2 + b


def widths_of(net: nn.Module) -> list[int]:
    """Channels that leave each residual block."""
    return [m.conv2.out_channels for m in net.modules() if isinstance(m, UpBlock | DownBlock)]


def maps_of(net: nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...], *inputs: Tensor) -> list[list[int]]:
    """Shape [C, H, W] of what each such module gives."""
    shapes: list[list[int]] = []
    for m in net.modules():
        if isinstance(m, kind):
            m.register_forward_hook(lambda m, a, out: shapes.append(list(out.shape[1:])))
    net(*inputs)
    return shapes


# ---- what the papers say ------------------------------------------------------------------------------------------


def test_sngan_at_32_is_table_4() -> None:
    """G: dense 4 x 4 x 256, three blocks up of 256, norm, convolution. D: two blocks down of 128, two plain, dense."""
    up = 2 * (2 * 256) + 2 * conv(256, 256) + conv(256, 256, 1)
    assert count("generator", "resnet", CIFAR, **G32) == 129 * 4096 + 3 * up + 2 * 256 + conv(256, 3) == 4_276_739
    first = conv(3, 128) + conv(128, 128) + conv(3, 128, 1)
    down = 2 * conv(128, 128) + conv(128, 128, 1)
    plain = 2 * conv(128, 128)  # the identity beside
    total = first + down + 2 * plain + 129
    assert count("critic", "resnet", CIFAR, **D32) == total == 1_053_825


def test_told_ten_classes_sngan_has_a_row_for_each() -> None:
    """Miyato and Koyama 2018: gain and bias a class in six norms; a row of 128 a class in D."""
    told = CIFAR._replace(classes=10)
    assert count("generator", "resnet", told, **G32) == 4_276_739 + 9 * 6 * 2 * 256
    assert count("critic", "resnet", told, **D32) == 1_053_825 + 10 * 128


@pytest.mark.parametrize(
    ("side", "up", "down", "options"),
    [
        (48, [256, 128, 64], [64, 128, 256, 512, 1024], {"smallest": 3}),  # table 5
        (128, [1024, 512, 256, 128, 64], [64, 128, 256, 512, 1024, 1024], {}),  # table 6
    ],
)
def test_sngan_at_larger_sizes(side: int, up: list[int], down: list[int], options: dict[str, int]) -> None:
    with torch.device("meta"):
        G = made("generator", "resnet", Spec((3, side, side)))
        D = made("critic", "resnet", Spec((3, side, side)), **options)
    assert widths_of(G) == up
    assert widths_of(D) == down
    start = side >> len(up)
    assert G.start == (2 * up[0] if side == 48 else up[0], start, start)  # 6 x 6 x 512 and 4 x 4 x 1024


@pytest.mark.parametrize(("side", "z"), [(128, 120), (256, 140), (512, 160)])
def test_biggan_s_tables(side: int, z: int) -> None:
    """Tables 4 to 6 of Brock et al. 2019, channels in multiples of 96; 20 latents a chunk."""
    up = {
        128: [16, 8, 4, 2, 1],
        256: [16, 8, 8, 4, 2, 1],
        512: [16, 8, 8, 4, 2, 1, 1],
    }[side]
    down = {128: [1, 2, 4, 8, 16, 16], 256: [1, 2, 4, 8, 8, 16, 16], 512: [1, 1, 2, 4, 8, 8, 16, 16]}[side]
    with torch.device("meta"):
        G = made("generator", "biggan", Spec((3, side, side)), z=z, spectral=False)
        D = made("critic", "biggan", Spec((3, side, side)), spectral=False)
    assert widths_of(G) == [96 * m for m in up]
    assert widths_of(D) == [96 * m for m in down]
    assert G.start == (16 * 96, 4, 4)
    assert G.chunks == [20] * (len(up) + 1)


def test_biggan_at_128_has_the_paper_s_parameters() -> None:
    """70.4 M and 88.0 M (Brock et al. 2019, appendix B.2), layer by layer."""
    ups = [(1536, 1536), (1536, 768), (768, 384), (384, 192), (192, 96)]
    # two norms of two maps from 128 + 20, two convolutions, one beside
    up = sum(2 * 148 * (a + b) + conv(a, b) + conv(b, b) + conv(a, b, 1) for a, b in ups)
    attention = 2 * 192 * 24 + 2 * 192 * 96 + 1  # at 64 x 64
    first, last = 21 * 16 * 1536, 2 * 96 + conv(96, 3)
    expected = 1000 * 128 + first + up + attention + last
    assert count("generator", "biggan", IMAGENET, spectral=False) == expected == 70_433_988
    downs = [(3, 96), (96, 192), (192, 384), (384, 768), (768, 1536)]
    down = sum(conv(a, b) + conv(b, b) + conv(a, b, 1) for a, b in downs) + 2 * conv(1536, 1536)
    attention = 2 * 96 * 12 + 2 * 96 * 48 + 1
    assert count("critic", "biggan", IMAGENET, spectral=False) == down + attention + 1537 + 1000 * 1536 == 87_982_370


def test_biggan_deep_at_128_has_the_paper_s_parameters() -> None:
    """50.4 M and 34.6 M (Brock et al. 2019, appendix B.2).

    The generator that was published ends in as many channels as it has, 128, of which three are the image; so many are
    in the 50.4 M (and in the 55.9 M and 56.2 M of the two larger ones).
    """
    generator = count("generator", "biggan-deep", IMAGENET, spectral=False)
    critic = count("critic", "biggan-deep", IMAGENET, spectral=False)
    assert round((generator + conv(128, 128) - conv(128, 3)) / 1e6, 1) == 50.4
    assert round(critic / 1e6, 1) == 34.6
    assert (generator, critic) == (50_244_484, 34_590_210)


def test_biggan_deep_is_four_times_as_deep() -> None:
    with torch.device("meta"):
        deep = made("generator", "biggan-deep", IMAGENET, spectral=False)
        flat = made("generator", "biggan", IMAGENET, spectral=False)
    inside = [sum(len(m.convs) for m in deep.modules() if isinstance(m, DeepUp))]
    inside.append(sum(2 for m in flat.modules() if isinstance(m, UpBlock)))
    assert inside == [40, 10]


def test_a_spectrally_normalised_network_can_be_counted_without_memory() -> None:
    told = Spec((1, 8, 8), classes=3)
    for kind, options in (("critic", {"plain": 0}), ("generator", {"attention": 4})):
        with torch.device("meta"):
            net = made(kind, "resnet", told, **NARROW, **options, spectral=True)
        assert all(t.is_meta for t in net.state_dict().values())
        assert sum(p.numel() for p in net.parameters()) == count(kind, "resnet", told, **NARROW, **options)


# ---- attention ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "side"),
    [
        ("biggan", {}, 64),
        ("biggan-deep", {}, 64),
        ("resnet", {"attention": 32}, 32),
        ("resnet", {"attention": 47}, 32),
        ("resnet", {"attention": 2}, 4),  # no map is that small: the smallest
    ],
)
@pytest.mark.parametrize("kind", ["generator", "critic"])
def test_attention_is_where_the_paper_has_it(kind: str, name: str, options: dict[str, int], side: int) -> None:
    """Of 128 x 128 images: at 64 x 64 in BigGAN, at 32 x 32 in SAGAN."""
    spec = Spec((1, 128, 128))
    net = made(kind, name, spec, **NARROW, **options)
    given = torch.randn(2, net.z_dim) if kind == "generator" else torch.randn(2, *spec.shape)
    assert [shape[1:] for shape in maps_of(net, SelfAttention, given)] == [[side, side]]


def test_attended_maps() -> None:
    assert attended([4, 8, 16, 32, 64], 64) == 4
    assert attended([4, 8, 16, 32, 64], 63) == 3
    assert attended([64, 32, 16, 8, 4], 16) == 2
    assert attended([32, 16, 16, 16], 20) == 1
    assert attended([7, 14], 4) == 0


def test_attention_s_formula_place_by_place() -> None:
    """x_i + gamma W sum_j softmax_j(f(x_i) . g(x_j)) h(x_j), j over a map of half the size."""
    torch.manual_seed(0)
    net, x = SelfAttention(16), torch.randn(2, 16, 4, 6)
    assert torch.equal(net(x), x)  # gamma begins at 0
    nn.init.constant_(net.gamma, 0.7)
    query = net.query(x)
    key, value = (F.max_pool2d(conv(x), 2).flatten(2) for conv in (net.key, net.value))
    assert key.shape == (2, 2, 6)
    assert value.shape == (2, 8, 6)
    found = torch.zeros_like(x)
    for n, i, j in itertools.product(range(2), range(4), range(6)):
        weight = torch.softmax(torch.stack([query[n, :, i, j] @ key[n, :, p] for p in range(6)]), 0)
        mixed = torch.stack([weight[p] * value[n, :, p] for p in range(6)]).sum(0)
        found[n, :, i, j] = net.out.weight[:, :, 0, 0] @ mixed
    assert torch.allclose(net(x), x + 0.7 * found, atol=1e-5)


def test_attention_can_be_differentiated_twice() -> None:
    """As gradient penalties do; against finite differences."""
    torch.manual_seed(0)
    net = SelfAttention(4).double()
    nn.init.constant_(net.gamma, 0.7)
    x = torch.randn(1, 4, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(net, (x,))


# ---- conditional norms and projection -----------------------------------------------------------------------------


def test_a_conditional_norm_is_a_norm_with_each_row_s_gain_and_bias() -> None:
    torch.manual_seed(0)
    norm, x, c = norm_by_vector(3)(5), torch.randn(4, 5, 6, 7), torch.randn(4, 3)
    assert isinstance(norm, ConditionalNorm)
    plain = F.batch_norm(x, None, None, training=True)
    gain, bias = 1 + c @ norm.gain.weight.T, c @ norm.bias.weight.T
    assert torch.allclose(norm(x, c), gain[..., None, None] * plain + bias[..., None, None], atol=1e-5)


def test_norms_of_classes_begin_alike() -> None:
    """Gains of one and biases of zero: at first no class differs."""
    x, y = torch.randn(6, 5, 4, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    assert torch.allclose(norm_by_class(3)(5)(x, y), nn.BatchNorm2d(5)(x), atol=1e-6)
    assert torch.equal(norm_by_class(3, batch_norm=False)(5)(x, y), x)
    assert [p.shape for p in norm_by_class(0)(5).parameters()] == [(5,), (5,)]


def test_projection_s_formula() -> None:
    """w . h + b + h . v_y"""
    torch.manual_seed(0)
    head, h, y = Projection(5, 3), torch.randn(4, 5), torch.tensor([2, 0, 1, 1])
    expected = h @ head.linear.weight[0] + head.linear.bias + (h * head.table.weight[y]).sum(1)
    assert torch.allclose(head(h, y), expected, atol=1e-6)


# ---- blocks -------------------------------------------------------------------------------------------------------


def test_a_block_up_is_the_paper_s() -> None:
    """Upsampled before the 1 x 1 convolution beside it, as figures draw it, it says the same."""
    torch.manual_seed(0)
    block, x = UpBlock(3, 5, norm_by_class(0)), torch.randn(2, 3, 4, 5)
    h = block.conv1(twice(F.relu(block.norm1(x))))
    expected = block.conv2(F.relu(block.norm2(h))) + block.shortcut(twice(x))
    assert torch.allclose(block(x), expected, atol=1e-5)
    assert torch.equal(twice(x)[..., 1::2, ::2], x)


@pytest.mark.parametrize("first", [False, True])
def test_a_block_down_is_the_paper_s(first: bool) -> None:
    """The first one reads the image as it is; elsewhere a ReLU stands before; the 1 x 1 may as well come before halving."""
    torch.manual_seed(0)
    block, x = DownBlock(3, 5, first=first), torch.randn(2, 3, 4, 6)
    h = block.conv2(F.relu(block.conv1(x if first else F.relu(x))))
    assert torch.allclose(block(x), F.avg_pool2d(h + block.shortcut(x), 2), atol=1e-5)


def test_where_a_block_widens() -> None:
    """In its second convolution (Miyato et al. 2018), or in its first (Brock et al. 2019)."""
    assert [DownBlock(3, 5, wide=wide).conv1.out_channels for wide in (False, True)] == [3, 5]


def test_beside_deep_blocks_nothing_is_learned() -> None:
    """Channels are dropped on the way up; they pass unchanged on the way down, and missing ones are added."""
    x = torch.randn(2, 8, 4, 4)
    up, down = DeepUp(8, 4, norm_by_class(0), up=True), DeepDown(8, 12, down=True)
    for block in (up, down):
        nn.init.zeros_(block.convs[-1].weight)
        nn.init.zeros_(block.convs[-1].bias)
    assert torch.equal(up(x), twice(x[:, :4]))
    assert torch.equal(down(x)[:, :8], F.avg_pool2d(x, 2))
    assert down(x).shape == (2, 12, 2, 2)
    assert [c.out_channels for c in DeepUp(8, 4, norm_by_class(0), up=False).convs] == [2, 2, 2, 4]
    assert [c.out_channels for c in down.convs] == [3, 3, 3, 12]


def test_layer_norm_in_a_critic_is_of_each_image_alone() -> None:
    """Every norm's input leaves with mean 0 and variance 1 over channels and places (Gulrajani et al. 2017)."""
    critic = made("critic", "resnet", Spec((1, 8, 8)), **NARROW, layer_norm=True)
    found: list[Tensor] = []
    for m in critic.modules():
        if isinstance(m, nn.GroupNorm):
            m.register_forward_hook(lambda m, a, out: found.append(out.flatten(1)))
    critic(torch.randn(3, 1, 8, 8))
    assert len(found) == 3  # two a block, none before the image
    assert all(torch.allclose(h.mean(1), torch.zeros(3), atol=1e-5) for h in found)
    assert all(torch.allclose(h.var(1, unbiased=False), torch.ones(3), atol=1e-2) for h in found)


# ---- being told ---------------------------------------------------------------------------------------------------

FAMILIES = ["resnet", "biggan", "biggan-deep"]
TOLD = Spec((2, 16, 12), classes=3)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_class_changes_what_is_made_and_judged(name: str) -> None:
    """Of every pair of classes, once a step was taken; and every weight learns."""
    torch.manual_seed(0)
    G, D = (made(kind, name, TOLD, **NARROW) for kind in ("generator", "critic"))
    z, y = torch.randn(1, G.z_dim).expand(3, -1), torch.tensor([0, 1, 2])
    D(G(z + torch.randn_like(z), y), y).logits.square().mean().backward()
    for net in (G, D):
        assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in net.parameters())
        with torch.no_grad():
            for p in net.parameters():
                p += 0.1 * torch.randn_like(p)
    x, said = G.eval()(z, y), D.eval()(torch.ones(3, *TOLD.shape), y).logits
    for a, b in itertools.combinations(range(3), 2):
        assert not torch.allclose(x[a], x[b], atol=1e-4)
        assert not torch.allclose(said[a], said[b], atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_told_nothing_says_what_it_misses(name: str) -> None:
    for kind, given in (("generator", (made("generator", name, TOLD, **NARROW).z_dim,)), ("critic", TOLD.shape)):
        with pytest.raises(InputError, match=r"told which of 3 classes: call it with y int64 \[N\]"):
            made(kind, name, TOLD, **NARROW)(torch.randn(2, *given))


def test_a_chunk_of_a_latent_begins_at_its_block() -> None:
    """BigGAN's hierarchical latent: what comes before a chunk's block does not know it."""
    torch.manual_seed(0)
    G = made("generator", "biggan", Spec((1, 16, 16), classes=2), z=7, **NARROW).eval()
    assert G.chunks == [3, 2, 2]
    z, y = torch.randn(4, 7), torch.zeros(4, dtype=torch.int64)
    other = torch.cat([z[:, :5], torch.randn(4, 2)], 1)
    seen: list[Tensor] = []
    G.blocks[0].register_forward_hook(lambda m, a, out: seen.append(out))
    x, changed = G(z, y), G(other, y)
    assert torch.equal(*seen)
    assert not torch.allclose(x, changed, atol=1e-5)


def test_a_latent_too_short_for_its_chunks_is_refused() -> None:
    with pytest.raises(InputError, match=r"G.z=2: the 2 blocks .* use 3 or more"):
        made("generator", "biggan", Spec((1, 16, 16)), z=2)
    assert made("generator", "biggan", Spec((1, 16, 16)), z=2, skip_z=False, **NARROW).chunks == [2, 0, 0]


def test_a_spectrally_normalised_projection_bounds_its_table() -> None:
    critic = made("critic", "biggan", TOLD, **NARROW)
    for _ in range(40):
        critic(torch.randn(2, *TOLD.shape), torch.tensor([0, 1]))
    table = critic.eval().head.table.weight.detach()
    assert float(torch.linalg.matrix_norm(table, 2)) == pytest.approx(1, abs=0.02)


# ---- spectral norm of generators ----------------------------------------------------------------------------------


def steady(layer: nn.Module, dim: int = 0) -> nn.Module:
    register_parametrization(layer, "weight", SteadyNorm(layer.weight, dim=dim))
    return layer


def test_a_steady_norm_moves_with_its_weight_alone() -> None:
    """However often a network runs it is the same one; a change of the weight is followed, by one iteration each."""
    torch.manual_seed(0)
    layer = steady(nn.Linear(12, 9))
    norm, raw = layer.parametrizations.weight[0], layer.parametrizations.weight.original
    first, x = layer.weight.clone(), torch.randn(3, 12)
    for _ in range(3):
        layer(x)
    assert torch.equal(layer.weight, first)
    v = norm.v.clone()
    with torch.no_grad():
        raw.copy_(torch.randn(9, 12))
    expected = F.normalize(raw.T @ F.normalize(raw @ v, dim=0), dim=0).detach()
    layer(x)
    assert torch.allclose(norm.v, expected, atol=1e-6)
    layer.eval()
    with torch.no_grad():
        raw.mul_(3)
    before = norm.v.clone()
    assert torch.allclose(layer.weight, raw / (norm.u @ raw @ norm.v))
    assert torch.equal(norm.v, before)  # looking moves nothing


@pytest.mark.parametrize(
    ("layer", "dim"), [(nn.Linear(12, 9), 0), (nn.Conv2d(3, 6, 3), 0), (nn.ConvTranspose2d(3, 6, 3), 1)]
)
def test_a_steady_norm_finds_the_largest_singular_value(layer: nn.Module, dim: int) -> None:
    """Of [filters, what each looks at], after some small changes; the slope is that of W / sigma(W)."""
    net = steady(layer, dim)
    raw = net.parametrizations.weight.original
    for i in range(60):
        assert net.weight.shape == raw.shape  # one iteration
        with torch.no_grad():
            raw.mul_(1.001 if i % 2 else 0.999)
    sigma = torch.linalg.matrix_norm(raw.transpose(0, dim).flatten(1), 2)
    weight = net.weight
    assert torch.allclose(weight, raw / sigma, rtol=1e-2)
    (slope,) = torch.autograd.grad(weight.square().sum(), raw)
    (wanted,) = torch.autograd.grad((raw / sigma).square().sum(), raw)
    assert torch.allclose(slope, wanted, atol=2e-2 * float(wanted.abs().max()))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_spectrally_normalised_generator_is_the_same_however_often_it_runs(name: str) -> None:
    torch.manual_seed(0)
    G = made("generator", name, Spec((1, 8, 8)), **NARROW, spectral=True)
    z = torch.randn(4, G.z_dim)
    assert torch.equal(G(z), G(z))


def test_biggan_begins_orthogonal() -> None:
    """Filters of a convolution that are no more than what each looks at are orthonormal; so are embeddings."""
    G = made("generator", "biggan", TOLD, **NARROW, spectral=False)
    weight = G.blocks[0].conv2.weight.detach().flatten(1)
    assert torch.allclose(weight @ weight.T, torch.eye(len(weight)), atol=1e-5)
    assert torch.allclose(G.shared.weight @ G.shared.weight.T, torch.eye(3), atol=1e-5)
