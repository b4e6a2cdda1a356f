"""Networks: any size and channel count, bounded output, one logit a row; the papers' parameter counts."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.nets.cnn import LEAK
from gantlet.nets.layers import Crop, Double, halvings
from helpers import POINTS, SMALL

GENERATORS, CRITICS = sorted(registry.generator.parts), sorted(registry.critic.parts)
BEYOND = {
    "cnn",
    "progan",
    "r3",
    "style",
    "style2",
    "style3",
    "vit",
}  # generators that reach beyond -1..1: samples are clamped when they are looked at
TAKE_POINTS = {"mlp", "autoencoder", "fourier", "maxout"}
SHAPES = [(1, 8, 8), (3, 28, 28), (4, 64, 64), (2, 17, 31), (3, 48, 20), (1, 4, 5)]  # every size, every channel count


def net(kind: str, name: str, spec: Spec, **options: Any) -> nn.Module:
    part = registry.KINDS[kind].find(name)
    narrow = {k: v for k, v in SMALL.items() if k in part.options and k not in options}
    tree, faults = registry.check(kind, {"use": name, **narrow, **options})
    assert not faults
    return registry.bind(kind, tree, total=1)(spec)


def switches(kind: str, name: str) -> list[dict[str, bool]]:
    """The default, and each yes-or-no option turned round."""
    options = registry.KINDS[kind].find(name).options.values()
    return [{}, *({o.name: not o.default} for o in options if o.hint is bool)]


GENERATED = [(n, o) for n in GENERATORS for o in switches("generator", n)]
JUDGED = [(n, o) for n in CRITICS for o in switches("critic", n)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "options"), GENERATED)
def test_a_generator_makes_images_of_the_size_asked_for(
    name: str, options: dict[str, bool], shape: tuple[int, ...]
) -> None:
    """[N, z] -> [N, C, H, W], in -1..1 or a little beyond, and every weight has a finite gradient."""
    spec = Spec(shape)
    generator = net("generator", name, spec, **options)
    x = generator(torch.randn(3, generator.z_dim))
    assert x.shape == (3, *spec.shape)
    assert (float(x.detach().abs().max()) <= 1) or name in BEYOND
    assert float(x.detach().std()) > 0
    x.square().mean().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in generator.parameters())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "options"), JUDGED)
def test_a_critic_gives_a_row_one_logit(name: str, options: dict[str, bool], shape: tuple[int, ...]) -> None:
    spec = Spec(shape)
    critic = net("critic", name, spec, **options)
    x = (2 * torch.rand(3, *spec.shape) - 1).requires_grad_()
    verdict = critic(x)
    logits = verdict.logits
    assert logits.shape == (3,)
    assert all(f.shape[0] == 3 and f.requires_grad for f in verdict.features)
    assert len(verdict.features) > 0
    logits.sum().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in critic.parameters())
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())
    assert critic(x[:1]).logits.shape == (1,)


@pytest.mark.parametrize("name", ["mlp", "cnn", "dcgan"])
def test_features_are_the_activations_from_input_to_output(name: str) -> None:
    """What each rectifier gave; the last, by the last layer, is the logit."""
    critic = net("critic", name, Spec((1, 8, 8))).eval()
    given: list[torch.Tensor] = []
    for m in critic.modules():
        if isinstance(m, nn.LeakyReLU):
            m.register_forward_hook(lambda m, a, out: given.append(out))
    said = critic(torch.randn(3, 1, 8, 8))
    assert len(given) == len(said.features)
    assert all(torch.equal(a, b) for a, b in zip(given, said.features))
    last = [m for m in critic.modules() if isinstance(m, nn.Linear)][-1]
    assert torch.equal(last(said.features[-1].flatten(1)).squeeze(1), said.logits)


def looks_at(spec: Spec, critic: nn.Module) -> torch.Tensor:
    """Which pixels a critic's logit depends on, over random images."""
    x = torch.randn(16, *spec.shape, requires_grad=True)
    (slope,) = torch.autograd.grad(critic.eval()(x).logits.sum(), x)
    return slope.abs().sum(0) > 0


@pytest.mark.parametrize("name", CRITICS)
@pytest.mark.parametrize("size", [(8, 8), (28, 28), (17, 31), (48, 20)])
def test_a_critic_sees_nearly_all_of_the_image(name: str, size: tuple[int, int]) -> None:
    """Odd sizes may lose a border to the strides, never more than a twentieth of the pixels."""
    spec = Spec((1, *size))
    seen = looks_at(
        spec, net("critic", name, spec, width=16, widest=16) if name == "cnn" else net("critic", name, spec)
    )
    assert float(seen.float().mean()) >= 0.95


@pytest.mark.parametrize("name", CRITICS)
def test_without_batch_norm_rows_are_judged_alone(name: str) -> None:
    options = {"batch_norm": False} if "batch_norm" in registry.critic.parts[name].options else {}
    critic = net("critic", name, Spec((2, 9, 8)), **options)
    x = torch.randn(4, 2, 9, 8)
    assert torch.allclose(critic(x).logits[1:3], critic(x[1:3]).logits, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "name"), [*itertools.product(["generator"], GENERATORS), *itertools.product(["critic"], CRITICS)]
)
def test_points_are_for_perceptrons(kind: str, name: str) -> None:
    """Networks for images refuse points, and say which network takes them."""
    if name in TAKE_POINTS:
        made = net(kind, name, POINTS)
        said = made(torch.randn(5, getattr(made, "z_dim", 2)))
        assert (said.shape == (5, 2)) if kind == "generator" else (said.logits.shape == (5,))
        return
    with pytest.raises(InputError, match=rf"network {name!r} is for images .* shape \[2\]; use mlp"):
        net(kind, name, POINTS)


def test_signs_of_latents_let_a_perceptron_jump() -> None:
    """Across a latent's sign the sample jumps by the slope of its bit; without bits it goes there continuously."""
    for bits, least in ((2, 1e-3), (0, 0.0)):
        torch.manual_seed(0)
        generator = net("generator", "mlp", POINTS, z=3, bits=bits)
        z = torch.tensor([[1e-7, 0.5, 0.5]])
        over, under = generator(z), generator(z * torch.tensor([-1.0, 1.0, 1.0]))
        jump = float((over - under).detach().abs().max())
        assert (jump > least) if bits else (jump < 1e-5)
    with pytest.raises(InputError, match=r"G.bits=4: only 3 latents have a sign; use at most 3"):
        net("generator", "mlp", POINTS, z=3, bits=4)


def test_a_dark_generator_can_still_learn() -> None:
    """Pixels far under -1, as large steps on a dark data set leave them, keep a gradient (float32 tanh' there is 0)."""
    generator = net("generator", "cnn", Spec((1, 8, 8)))
    last = [m for m in generator.modules() if isinstance(m, nn.Conv2d)][-1]
    nn.init.constant_(last.bias, -30.0)
    x = generator(torch.randn(2, generator.z_dim))
    assert float(x.detach().max()) < -1
    x.mean().backward()
    assert float(last.bias.grad.abs()) == pytest.approx(LEAK, rel=0.01)


def test_points_are_not_bounded() -> None:
    generator = net("generator", "mlp", POINTS)
    assert float(generator(100 * torch.randn(64, generator.z_dim)).detach().abs().max()) > 1


# ---- what the papers say ------------------------------------------------------------------------------------------


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_dcgan_at_64_is_the_paper_s_figure_1() -> None:
    """100 -> 4 x 4 x 1024 -> 8 x 8 x 512 -> 16 x 16 x 256 -> 32 x 32 x 128 -> 64 x 64 x 3 (4 x 4 kernels here)."""
    generator = registry.generator.parts["dcgan"].fn(Spec((3, 64, 64)), width=128)
    shapes = []
    for m in generator.modules():
        if isinstance(m, nn.ReLU | Crop):
            m.register_forward_hook(lambda m, a, out: shapes.append(tuple(out.shape[1:])))
    generator.eval()(torch.randn(2, 100))
    assert shapes == [(1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64)]
    widths = [1024, 512, 256, 128]
    project = 100 * 4 * 4 * 1024
    convolutions = sum(a * b * 4 * 4 for a, b in itertools.pairwise(widths)) + 128 * 3 * 4 * 4 + 3
    norms = sum(2 * w for w in widths)
    assert count(generator) == project + convolutions + norms


def test_dcgan_s_critic_layer_by_layer() -> None:
    """3 -> 64 -> 128 -> 256 -> 512 by strided 4 x 4 convolutions, no norm after the first, then one linear layer."""
    critic = registry.critic.parts["dcgan"].fn(Spec((3, 64, 64)))
    widths = [3, 64, 128, 256, 512]
    convolutions = sum(a * b * 16 for a, b in itertools.pairwise(widths)) + 64  # a bias where there is no norm
    assert count(critic) == convolutions + 2 * (128 + 256 + 512) + 512 * 4 * 4 + 1
    assert [m.num_features for m in critic.modules() if isinstance(m, nn.BatchNorm2d)] == [128, 256, 512]
    assert all(m.negative_slope == 0.2 for m in critic.modules() if isinstance(m, nn.LeakyReLU))


def test_dcgan_begins_as_the_paper_says() -> None:
    """Zero-centred normal weights with standard deviation 0.02."""
    generator = registry.generator.parts["dcgan"].fn(Spec((3, 32, 32)))
    drawn = torch.cat([m.weight.detach().flatten() for m in generator.modules() if isinstance(m, nn.ConvTranspose2d)])
    assert float(drawn.std()) == pytest.approx(0.02, rel=0.02)
    assert abs(float(drawn.mean())) < 1e-3


def test_the_first_perceptrons() -> None:
    """100 - 256 - 784 and 784 - 256 - 1."""
    spec = Spec((1, 28, 28))
    assert count(registry.generator.parts["mlp"].fn(spec)) == 100 * 256 + 256 + 256 * 784 + 784
    assert count(registry.critic.parts["mlp"].fn(spec)) == 784 * 256 + 256 + 256 + 1


@pytest.mark.parametrize("name", [n for n in CRITICS if "spectral" in registry.critic.parts[n].options])
def test_spectral_normalisation_bounds_every_layer(name: str) -> None:
    """After some forwards every weight's largest singular value is one (Miyato et al. 2018)."""
    critic = net("critic", name, Spec((1, 8, 8)), spectral=True)
    for _ in range(60):
        critic(torch.randn(2, 1, 8, 8))
    critic.eval()
    layers = [m for m in critic.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert layers
    for m in layers:
        largest = torch.linalg.matrix_norm(m.weight.detach().flatten(1), 2)
        assert float(largest) == pytest.approx(1, abs=0.02)


# ---- blocks -------------------------------------------------------------------------------------------------------


def test_halvings() -> None:
    got = {
        s: halvings(*s) for s in [(4, 4), (7, 7), (8, 8), (15, 99), (16, 16), (28, 28), (64, 64), (48, 20), (256, 300)]
    }
    assert list(got.values()) == [1, 1, 1, 1, 2, 2, 4, 2, 6]


def test_crop_takes_the_middle_and_double_doubles() -> None:
    x = torch.arange(35.0).view(1, 1, 5, 7)
    assert torch.equal(Crop(3, 3)(x), x[..., 1:4, 2:5])
    assert torch.equal(Crop(5, 7)(x), x)
    assert Double()(x).shape == (1, 1, 10, 14)
    assert torch.allclose(Double()(torch.ones(1, 2, 3, 3)), torch.ones(1, 2, 6, 6))
