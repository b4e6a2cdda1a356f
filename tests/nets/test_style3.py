"""StyleGAN3: filters that keep what they promise, rectifiers that add no aliases, the published sizes and counts."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.held import draws
from gantlet.nets.alias_free import FilteredLeakyReLU, Signal, attenuation, kaiser_beta, low_pass
from gantlet.nets.equalised import ROOT2, SLOPE
from gantlet.nets.style2 import Style2Generator
from gantlet.nets.style3 import FourierInput, Style3Generator, layers_for, progression


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def decibel(gap: Tensor, of: Tensor) -> float:
    """How far `gap` is under `of`."""
    return float(10 * torch.log10(of.square().mean() / gap.square().mean()))


def small(shape: tuple[int, ...] = (3, 32, 32), **options: Any) -> Style3Generator:
    torch.manual_seed(0)
    return Style3Generator(Spec(shape), **{"z": 8, "w": 16, "width": 4, "widest": 16, **options}).eval()


def settled(net: Style3Generator) -> Style3Generator:
    """With what layers know of their inputs' size after a long training."""

    def know(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        layer.magnitude.copy_(args[0].square().mean())

    known = [layer.register_forward_pre_hook(know) for layer in net.synthesis.body]
    with torch.no_grad():
        net(torch.randn(4, net.z_dim))
    for hook in known:
        hook.remove()
    return net


# ---- filters ------------------------------------------------------------------------------------------------------


def test_kaiser_s_formulas() -> None:
    """60 dB over a transition of 0.1 of the highest frequency wants beta 5.653 and 73 or 74 taps (Oppenheim and Schafer)."""
    assert kaiser_beta(60) == pytest.approx(5.653, abs=1e-3)
    assert kaiser_beta(21) == kaiser_beta(10) == 0
    assert kaiser_beta(50) == pytest.approx(kaiser_beta(50 + 1e-9), rel=0.01)  # the two branches meet
    assert attenuation(73, 0.05, 2.0) < 60 < attenuation(74, 0.05, 2.0)


def response(taps: Tensor, f: Tensor, rate: float) -> Tensor:
    """|H(f)| in dB along an axis; f in cycles per unit."""
    t = torch.arange(len(taps), dtype=torch.float64) / rate
    turns = torch.exp(-2j * math.pi * f.unsqueeze(1) * t)
    return 20 * torch.log10((turns @ taps.to(turns.dtype)).abs().clamp(min=1e-12))


@pytest.mark.parametrize(("taps", "half_width"), [(48, 0.1), (12, 0.35), (24, 0.3)])
def test_a_filter_keeps_out_what_kaiser_s_design_promises(taps: int, half_width: float) -> None:
    """Gain 1 at 0, a half at the cutoff, the promised attenuation, to 2 dB of Kaiser's fit, in the whole stop band."""
    rate, cutoff = 2.0, 0.45
    found = low_pass(taps, cutoff=cutoff, half_width=half_width, rate=rate)
    assert float(found.sum()) == pytest.approx(1, abs=1e-12)
    assert torch.allclose(found, found.flip(0))
    promised = attenuation(taps, half_width, rate)
    stop = response(found, torch.linspace(cutoff + half_width, rate / 2, 500, dtype=torch.float64), rate)
    assert promised > 25
    assert float(stop.max()) < 2 - promised
    (at_cutoff,) = response(found, torch.tensor([cutoff], dtype=torch.float64), rate)
    assert float(at_cutoff) == pytest.approx(20 * math.log10(0.5), abs=0.5)


def test_a_radial_filter_is_the_same_in_all_directions() -> None:
    """|H| at the same distance from zero, to 1 % of the gain; a product of two sincs differs by more than a tenth."""
    options = {"cutoff": 0.4, "half_width": 0.2, "rate": 2.0}
    jinc = low_pass(24, radial=True, **options)
    sinc = low_pass(24, **options)
    assert jinc.shape == (24, 24)
    assert float(jinc.sum()) == pytest.approx(1, abs=1e-12)
    angle = torch.linspace(0, math.pi / 2, 40, dtype=torch.float64)
    t = (torch.arange(24, dtype=torch.float64) - 11.5) / 2

    def spread(taps: Tensor, radius: float) -> float:
        x = torch.cos(2 * math.pi * radius * (angle.cos()[:, None, None] * t + angle.sin()[:, None, None] * t[:, None]))
        gain = (x * taps).sum((1, 2))
        return float(gain.max() - gain.min())

    assert all(spread(jinc, r) < 0.01 for r in (0.1, 0.25, 0.4, 0.55))
    assert spread(torch.outer(sinc, sinc), 0.4) > 0.1
    assert float(low_pass(5, radial=True, **options).isfinite().all())


# ---- the rectifier ------------------------------------------------------------------------------------------------


def noise(rate: int, size: int, cutoff: float, move: float) -> Tensor:
    """Band-limited noise, the plane moved by so many samples, float64 [1, 8, size, size]."""
    torch.manual_seed(0)
    f = (2 * torch.rand(8, 60, 2, dtype=torch.float64) - 1) * cutoff / math.sqrt(2)
    phase = torch.rand(8, 60, dtype=torch.float64)
    place = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2 - move) / rate
    across = f[:, :, 0, None, None] * place + phase[:, :, None, None]
    waves = torch.sin(2 * math.pi * (across + f[:, :, 1, None, None] * place[:, None]))
    return waves.sum(1).unsqueeze(0) / math.sqrt(30)


def shifted(x: Tensor, move: float) -> Tensor:
    """The same moved by so many samples through a Kaiser-windowed sinc, the border lost."""
    d = torch.arange(-20, 21, dtype=torch.float64)
    window = torch.special.i0(7 * (1 - ((d - move) / 21).square()).clamp(min=0).sqrt())
    taps = torch.sinc(d - move) * window
    taps = (taps / taps.sum()).flip(0)
    c = x.shape[1]
    x = F.conv2d(x, taps.view(1, 1, -1, 1).expand(c, 1, -1, 1), groups=c)
    return F.conv2d(x, taps.view(1, 1, 1, -1).expand(c, 1, 1, -1), groups=c)


@pytest.mark.parametrize("radial", [False, True])
def test_a_filtered_rectifier_moves_with_its_input(radial: bool) -> None:
    """By a fraction of a sample: over 40 dB; the plain rectifier, whose new frequencies fold back, stays under 30."""
    signal = Signal(rate=32, cutoff=8.0, half_width=8.0, size=(96, 96))
    act = FilteredLeakyReLU(signal, signal, radial=radial).double()

    def gap(f: Any) -> float:
        still, moved = (f(noise(32, 96, 8.0, m)) for m in (0.0, 0.37))
        wanted = shifted(still, 0.37)
        return decibel((moved - 0)[..., 20:-20, 20:-20] - wanted, wanted)

    filtered = gap(act)
    plain = gap(lambda x: ROOT2 * F.leaky_relu(x, SLOPE))
    assert filtered > 40
    assert plain < 30


def test_a_filtered_rectifier_leaves_a_constant_alone() -> None:
    """Away from the border sqrt 2 x, or 0.2 sqrt 2 x below zero, at every rate and size."""
    before = Signal(rate=16, cutoff=4.0, half_width=4.0, size=(37, 36))
    for after in (before, Signal(rate=32, cutoff=6.0, half_width=10.0, size=(53, 50))):
        for radial, grown in itertools.product((False, True), (0, 2)):
            act = FilteredLeakyReLU(before, after, grown=grown, radial=radial)
            x = torch.ones(2, 3, 37 + grown, 36 + grown)
            y = act(torch.cat([x[:1], -x[:1]]))
            assert y.shape == (2, 3, *after.size)
            middle = y[:, :, 20:30, 20:30]
            assert torch.allclose(middle[0], torch.tensor(ROOT2), atol=2e-2)
            assert torch.allclose(middle[1], torch.tensor(-ROOT2 * SLOPE), atol=5e-3)


# ---- what the paper says ------------------------------------------------------------------------------------------


def named(side: int, *, count_of: int = 14, **options: Any) -> list[Signal]:
    paper = {"critical": 2, "frame": 10, "first_cutoff": 2.0, "first_stop": 2**2.1, "last_stop": 2**0.3}
    return progression(side, side, layers=count_of, **{**paper, **options})


def test_the_layers_of_1024_are_the_published_ones() -> None:
    """The sides of the published configuration R at 1024 x 1024 (its network's table, L0_36 ... L13_1024)."""
    sides = [signal.size[0] for signal in named(1024)]
    assert sides == [36, 36, 52, 52, 84, 148, 148, 276, 276, 532, 1044, 1044, 1044, 1024, 1024]
    assert [s.size[0] for s in named(128)][8:] == [84, 148, 148, 148, 148, 128, 128]  # L8_84 ... L13_128
    assert [s.cutoff for s in named(1024)][-3:] == [512.0] * 3
    assert all(b.cutoff >= a.cutoff and b.rate >= a.rate for a, b in itertools.pairwise(named(1024)))
    assert all(
        s.cutoff + s.half_width >= s.rate / 2 for s in named(1024)
    )  # no transition band is narrower than it may be


@pytest.mark.parametrize(
    ("side", "options", "published"),
    [
        (1024, {}, 22_313_167),  # the paper's table says 22.3 M for T
        (1024, {"width": 64, "widest": 1024, "rotation": True}, 15_093_151),
        (512, {"width": 128, "widest": 1024, "rotation": True}, 16_665_594),
    ],
)
def test_parameters_are_as_many_as_published(side: int, options: dict[str, Any], published: int) -> None:
    assert count(Style3Generator(Spec((3, side, side)), **options)) == published


def test_parameters_by_hand() -> None:
    """Mapping, input with its affine map, layers with theirs, at 16 x 16: 8 layers, as wide as 4 x 8 / cutoff."""
    net = small((2, 16, 16))
    widths = [min(round(4 * 8 / s.cutoff), 16) for s in named(16, count_of=8)]
    pairs = [(widths[0], widths[0]), *itertools.pairwise(widths[:-1])]
    assert len(pairs) == 8 == layers_for(16)
    layers = sum(a * b * 9 + b + 17 * a for a, b in pairs)
    image = widths[-2] * 2 + 2 + 17 * widths[-2]
    assert count(net) == 9 * 16 + 17 * 16 + widths[0] ** 2 + 17 * 4 + layers + image


def test_small_pictures_have_fewer_layers() -> None:
    assert [layers_for(s) for s in (4, 8, 16, 32, 64, 128, 256, 1024)] == [4, 6, 8, 10, 12, 14, 14, 14]
    assert small((1, 8, 8)).synthesis.layers == 8
    assert small((1, 8, 8), layers=5).synthesis.layers == 7


# ---- moving and turning -------------------------------------------------------------------------------------------


def pictures(net: Style3Generator, z: Tensor, transform: Tensor) -> Tensor:
    net.synthesis.transform = transform
    with torch.no_grad():
        made: Tensor = net(z)
    return made


def test_style3_moves_with_its_input_and_style2_does_not() -> None:
    """Whole pixels (3, 2) of an untrained network: over 55 dB under the picture; StyleGAN2, the same waves in the place of
    its learnt map, moved as far, stays under 20 dB."""
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    move = torch.eye(3)
    move[:2, 2] = torch.tensor([-3.0, 2.0])  # the picture goes right by 3 and up by 2

    net = settled(small())
    still, moved = pictures(net, z, torch.eye(3)), pictures(net, z, move)
    ours = decibel(moved[:, :, :-2, 3:] - still[:, :, 2:, :-3], still)

    torch.manual_seed(0)
    other = Style2Generator(Spec((3, 32, 32)), z=8, w=16, width=4, widest=16, mixing=0.0).eval()
    waves = FourierInput(16, len(other.synthesis.start), Signal(4, 1.0, 1.0, (4, 4)), 32)
    made = []
    for transform in (torch.eye(3), move):
        with torch.no_grad():
            other.synthesis.start.copy_(waves(torch.zeros(1, 16), transform)[0])
            made.append(other.synthesis(other.mapping(z)))
    theirs = decibel(made[1][:, :, :-2, 3:] - made[0][:, :, 2:, :-3], made[0])
    assert ours > 55
    assert theirs < 20


def test_configuration_r_turns_with_its_input_and_t_does_not() -> None:
    """By a right angle, exactly what filters of any kind allow; by 45 degrees see the metric's tests."""
    z = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    right = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    found = []
    for rotation in (True, False):
        net = settled(small((3, 16, 16), rotation=rotation))
        still, turned = pictures(net, z, torch.eye(3)), pictures(net, z, right)
        found.append(decibel(turned - still.rot90(1, (2, 3)), still))
    assert found[0] > 90
    assert found[1] < 30


def test_w_moves_and_turns_the_waves() -> None:
    """A pose (c, s, x, y) of w: places are moved by -(x, y), in pictures, then turned; the length of (c, s) is nothing."""
    torch.manual_seed(0)
    waves = FourierInput(4, 6, Signal(16, 2.0, 6.0, (36, 36)), 32)
    w = torch.zeros(2, 4)
    eye = torch.eye(3)
    with torch.no_grad():
        still = waves(w, eye)
        assert torch.equal(still[0], still[1])
        waves.affine.raw_bias.copy_(
            torch.tensor([3.0, 0.0, 3 * 4 / 16, 0.0])
        )  # a quarter of a picture: 4 samples of 16
        assert torch.allclose(waves(w, eye)[:, :, :, 4:], still[:, :, :, :-4], atol=1e-5)
        waves.affine.raw_bias.copy_(torch.tensor([0.0, 1.0, 0.0, 0.0]))
        assert torch.allclose(waves(w, eye), still.rot90(1, (2, 3)), atol=1e-5)
        far = torch.diag(torch.tensor([9.0, 9.0, 1.0]))  # so far away that every wave is beyond what samples can show
        waves.affine.raw_bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        waves.frequencies.mul_(1.99 / waves.frequencies.norm(dim=1, keepdim=True))
        assert float(waves(w, far).abs().max()) == 0


# ---- training -----------------------------------------------------------------------------------------------------


def test_magnitudes_move_only_where_somebody_learns() -> None:
    """Not in evaluation, not without a graph; else towards the mean square, half of the way in `half_life_images`."""
    net = small((1, 8, 8), half_life_images=4.0)
    layer = net.synthesis.body[0]
    z = torch.randn(4, 8)
    seen: list[Tensor] = []
    layer.register_forward_pre_hook(lambda m, args: seen.append(args[0].detach()))
    net(z)
    with torch.no_grad():
        net.train()(z)
    assert float(layer.magnitude) == 1
    net(z)
    assert float(layer.magnitude) == pytest.approx(0.5 + 0.5 * float(seen[-1].square().mean()), rel=1e-5)


def test_layers_know_the_size_of_what_comes_in() -> None:
    """Settled, other latents' features come in with a mean square of about one, whatever the weights are scaled by."""
    net = small((1, 8, 8), frame=2, width=16, widest=64, w=64)
    with torch.no_grad():
        net.synthesis.input.weight.mul_(100)
    settled(net)
    sizes: list[float] = []
    for layer in net.synthesis.body:
        layer.register_forward_pre_hook(
            lambda m, args: sizes.append(float(args[0].detach().square().mean() / m.magnitude))
        )
    net(torch.randn(16, 8))
    assert all(0.5 < s < 2 for s in sizes)


def test_it_is_twice_differentiable() -> None:
    """The slope of a slope's square in w, by autodiff and by differences, in float64: what path length asks for."""
    net = small((1, 8, 8), frame=2).double()
    w = torch.randn(1, 16, dtype=torch.float64)
    probe, way = torch.randn(1, 1, 8, 8, dtype=torch.float64), torch.randn(1, 16, dtype=torch.float64)

    def steepness(at: Tensor) -> Tensor:
        (slope,) = torch.autograd.grad((net.synthesis(at) * probe).sum(), at, create_graph=True)
        return slope.square().sum()

    at = w.clone().requires_grad_()
    (second,) = torch.autograd.grad(steepness(at), at)
    e = 1e-6
    ends = [steepness((w + s * e * way).requires_grad_()) for s in (1, -1)]
    assert float((second * way).sum()) == pytest.approx(float((ends[0] - ends[1]).detach()) / (2 * e), rel=1e-4)
    assert float(second.abs().sum()) > 0


def test_styles_may_differ_by_layer() -> None:
    """[N, layers, w]: equal ones are [N, w]; the last one reaches the image, and z is not asked for."""
    net = small((1, 8, 8), frame=2)
    w = net.mapping(torch.randn(2, 8))
    each = w.unsqueeze(1).repeat(1, net.synthesis.layers, 1)
    whole = net.synthesis(w)
    assert torch.equal(net.synthesis(each), whole)
    for layer in range(1, net.synthesis.layers):  # before it is trained the input does not listen
        other = each.clone()
        other[:, layer] += 1
        assert not torch.allclose(net.synthesis(other), whole)


def test_classes_are_told() -> None:
    torch.manual_seed(0)
    net = Style3Generator(Spec((1, 8, 8), classes=3), z=8, w=16, width=4, frame=2)
    z = torch.randn(1, 8).expand(3, -1)
    made = net(z, torch.arange(3)).detach()
    assert all(not torch.allclose(made[i], made[j]) for i, j in itertools.combinations(range(3), 2))
    assert net.w_mean is net.mapping.w_mean


def test_large_styles_survive_half_precision() -> None:
    net = settled(small())
    layer = net.synthesis.body[2]
    x, w = torch.randn(2, layer.affine.out_features, 24, 24), torch.randn(2, 16)
    with torch.no_grad():
        layer.affine.raw_bias.fill_(300.0)
        layer.resample = nn.Identity()
        wanted = layer(x, w)
        with torch.autocast("cpu", torch.float16):
            found = layer(x, w)
    assert float(wanted.std()) > 0.3
    assert torch.allclose(found.float(), wanted, atol=0.05)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"first_cutoff": 17.0, "first_stop": 40.0}, "first_cutoff=17: pictures of 32 pixels hold 16 waves"),
        ({"first_cutoff": 4.0, "first_stop": 4.0}, "first_stop=4: must be above first_cutoff=4"),
        ({"last_stop": 1.0}, "last_stop=1: must be above 1"),
    ],
)
def test_bands_that_no_filter_has(options: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        small(**options)


@pytest.mark.parametrize("side", [4, 8, 31, 256])
@pytest.mark.parametrize("bands", [(2.0, 2**2.1, 2**0.3), (1.0, 1.01, 1.01), (2.0, 100.0, 1.5)])
def test_bands_that_pass_are_ones_a_filter_has(side: int, bands: tuple[float, float, float]) -> None:
    """No band is empty and no cutoff beyond half the rate, at any layer."""
    a, b, c = bands
    layers = layers_for(2 ** math.ceil(math.log2(side)))
    found = progression(side, side, layers=layers, critical=2, frame=2, first_cutoff=a, first_stop=b, last_stop=c)
    assert all(s.half_width > 0 and s.cutoff <= s.rate / 2 for s in found)


def test_no_noise_is_drawn() -> None:
    assert not draws(small())
