"""Truncation, interpolation, mixing: closed forms and what must not move."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from explore_models import SPEC, Styled, conditional, model_from, model_of

from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.noise import normal
from gantlet.explore import (
    Truncated,
    by_leg,
    interpolate,
    latents,
    mix,
    style_of,
    sweep,
    truncated_normal,
    truncated_style,
    walk,
)
from gantlet.explore.mixing import band, mixed
from gantlet.explore.space import CHUNK
from gantlet.metrics.path_length import slerp
from gantlet.runs.model import Model

# ---- truncation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", [0.05, 0.5, 1.0, 2.0])
def test_truncated_latents_are_truncated_normals(t: float) -> None:
    """Kolmogorov-Smirnov against F(x) = (Phi(x) - Phi(-t)) / (Phi(t) - Phi(-t)): under 1.63 / sqrt(n), the 1 % point."""
    z = normal((4,), 5_000, key=("test",))
    cut = truncated_normal(z, t).flatten().double().sort().values
    assert float(cut.abs().max()) <= t
    low = torch.special.ndtr(torch.tensor(-t).double())
    expected = (torch.special.ndtr(cut) - low) / (1 - 2 * low)
    place = torch.arange(len(cut)) / len(cut)
    assert float(
        torch.maximum((expected - place).abs(), (expected - place - 1 / len(cut)).abs()).max()
    ) < 1.63 / math.sqrt(len(cut))


def test_truncation_is_monotone_odd_and_has_its_limits() -> None:
    z = torch.linspace(-6, 6, 4001).unsqueeze(1)
    cut = truncated_normal(z, 0.7)
    assert bool((cut.diff(dim=0) >= 0).all()) and float(cut.diff(dim=0)[1500:2500].min()) > 0
    assert torch.allclose(cut, -cut.flip(0), atol=1e-7)
    assert torch.allclose(truncated_normal(z, 40.0), z, atol=1e-6), "far out nothing is cut, tails neither"
    tight = truncated_normal(z, 1e-3) / 1e-3  # uniform in -1..1
    assert torch.allclose(tight.double(), 2 * torch.special.ndtr(z.double()) - 1, atol=1e-4)


def test_choices_are_left_alone() -> None:
    z = torch.randn(9, 5)
    assert torch.equal(truncated_normal(z, 0.3, fixed=2)[:, 3:], z[:, 3:])
    model = conditional(Styled(classes=3))
    wide = Truncated(model.game, 0.5)
    z = model.game.latent(40, seed=0)
    assert torch.equal(wide.classes_of(z), model.game.classes_of(z)) and wide.classes == 3


@pytest.mark.parametrize("t", [0.0, -1.0, math.nan, math.inf])
def test_a_truncation_of_nothing_is_refused(t: float) -> None:
    with pytest.raises(InputError, match="above 0"):
        truncated_normal(torch.zeros(1, 1), t)


def test_styles_are_drawn_towards_their_mean() -> None:
    w, mean = torch.randn(6, 7), torch.randn(7)
    assert torch.equal(truncated_style(w, mean, 1), w)
    assert torch.allclose(truncated_style(w, mean, 0), mean.expand(6, 7))
    assert torch.allclose(truncated_style(w, mean, 0.5), (w + mean) / 2)
    assert truncated_style(w.unsqueeze(1).expand(6, 3, 7), mean, 0.5).shape == (6, 3, 7)
    with pytest.raises(InputError, match="0 to 1"):
        truncated_style(w, mean, 7)


def test_a_model_is_sampled_truncated() -> None:
    """psi = 1 is the model to the bit, psi = 0 one image but for the noise; normal latents shrink with t."""
    styled = model_of(Styled())
    assert torch.equal(styled.sample(5, truncation=1.0), styled.sample(5))
    spread = [float(styled.sample(40, truncation=psi).std(0).mean()) for psi in (0.0, 0.5, 1.0)]
    assert spread == sorted(spread) and spread[0] < 0.5 * spread[2]
    plain = model_from("dcgan")
    spread = [float(plain.sample(40, truncation=t).std(0).mean()) for t in (0.1, 0.5, 2.0)]
    assert spread == sorted(spread)
    assert torch.allclose(plain.sample(5, truncation=40.0), plain.sample(5), atol=1e-5)
    assert torch.equal(plain.sample(2, truncation=0.5, first=3), plain.sample(5, truncation=0.5)[3:]) or torch.allclose(
        plain.sample(2, truncation=0.5, first=3), plain.sample(5, truncation=0.5)[3:], atol=1e-4
    )


def test_classes_can_be_asked_for_truncated() -> None:
    model = conditional(Styled(classes=3))
    assert torch.equal(model.sample(4, classes=[2], truncation=1.0), model.sample(4, classes=[2]))
    assert not torch.equal(model.sample(4, classes=[2], truncation=0.6), model.sample(4, classes=[1], truncation=0.6))


def test_a_sweep_ends_at_the_samples() -> None:
    model = model_of(Styled())
    made = sweep(model, frames=4, n=3)
    assert made.shape == (3, 4, 1, 8, 8)
    assert torch.equal(made[:, -1], model.sample(3))
    assert sweep(model_from("mlp"), values=[0.5, 1.0], n=2).shape == (2, 2, 1, 8, 8)
    with pytest.raises(InputError, match="pictures are of images"):
        sweep(model_from("mlp", spec=Spec((2,))))


def test_many_are_swept_in_parts() -> None:
    """A batch's size does not decide the memory."""
    model, rows = model_of(Styled()), []
    model.game.G.register_forward_hook(lambda module, args, out: rows.append(len(out)))
    model.game.G.synthesis.register_forward_hook(lambda module, args, out: rows.append(len(out)))
    made = sweep(model, values=[0.5, 1.0], n=CHUNK + 3)
    assert max(rows) == CHUNK and torch.allclose(made[:, 1], model.sample(CHUNK + 3), atol=1e-6)


# ---- interpolation ------------------------------------------------------------------------------------------------


def test_slerp_stays_on_the_sphere_and_turns_evenly() -> None:
    a, b = torch.nn.functional.normalize(torch.randn(2, 1, 9).double(), dim=2)
    t = torch.linspace(0, 1, 11).double().unsqueeze(1)
    path = slerp(a.expand(11, -1), b.expand(11, -1), t)
    assert torch.allclose(path.norm(dim=1), torch.ones(11).double(), atol=1e-12)
    turned = (path[1:] * path[:-1]).sum(1).acos()
    assert torch.allclose(turned, turned[:1].expand(10), atol=1e-7)


@pytest.mark.parametrize("way", ["slerp", "lerp"])
def test_a_walk_hits_its_points(way: str) -> None:
    points = torch.nn.functional.normalize(torch.randn(4, 6))
    path = walk(points, 5, way=way)
    assert path.shape == (16, 6) and torch.equal(path[::5], points)
    loop = walk(points, 5, way=way, loop=True)
    assert loop.shape == (20, 6) and torch.equal(loop[:16], path)
    gaps = loop.roll(-1, 0).sub(loop).norm(dim=1).view(4, 5)
    assert float((gaps.max(1).values / gaps.min(1).values).max()) < 1.5, "no jump, the last step back neither"


def test_interpolation_ends_at_samples() -> None:
    model = model_from("dcgan")
    path = interpolate(model, n=3, frames=4, seed=5)
    assert path.shape == (9, 1, 8, 8)
    assert torch.equal(by_leg(path, 4)[0], path[:5]) and torch.equal(by_leg(path, 4)[1], path[4:])
    assert torch.allclose(path[::4], model.sample(3, seed=5), atol=1e-5)
    chosen = interpolate(model, seeds=[7, 2], frames=2)
    assert torch.allclose(chosen[[0, 2]], torch.cat([model.sample(1, seed=s) for s in (7, 2)]), atol=1e-5)


def test_a_class_is_held_on_the_way() -> None:
    """Through latents of different classes all frames are of the first one's, or of the one asked for."""
    model = conditional(Styled(classes=3))
    z = latents(model.game, 6, hold=True)
    assert len(model.game.classes_of(model.game.latent(6, seed=0)).unique()) > 1
    assert len(model.game.classes_of(z).unique()) == 1
    asked = [interpolate(model, n=2, frames=2, y=y) for y in range(3)]
    first = int(model.game.classes_of(z)[0])
    held = interpolate(model, n=2, frames=2)
    assert [torch.allclose(held, one, atol=1e-6) for one in asked] == [y == first for y in range(3)]


def test_styles_are_walked_with_the_noise_held() -> None:
    model = model_of(Styled())
    style = style_of(model.game)
    z = model.game.latent(2, seed=0)
    middle = interpolate(model, n=2, frames=2, space="w")[1]
    expected = style.made(style.w_of(z).mean(0, keepdim=True))[0]
    assert torch.allclose(middle, expected, atol=1e-6)
    assert torch.allclose(interpolate(model, n=2, frames=2)[0], style.made(style.w_of(z))[0], atol=1e-6)


@pytest.mark.parametrize("make", [lambda: model_of(Styled()), lambda: model_from("dcgan")])
def test_a_truncated_model_is_walked_truncated(make: Callable[[], Model]) -> None:
    model = make()
    path = interpolate(model.truncated(0.4), n=2, frames=3)
    assert torch.allclose(path, interpolate(model, n=2, frames=3, truncation=0.4), atol=1e-6)
    assert not torch.allclose(path, interpolate(model, n=2, frames=3), atol=1e-3)


def test_what_cannot_be_walked_is_refused() -> None:
    with pytest.raises(InputError, match="mapping and a synthesis"):
        interpolate(model_from("dcgan"), space="w")
    with pytest.raises(InputError, match="space=q"):
        interpolate(model_from("dcgan"), space="q")
    with pytest.raises(InputError, match="way=straight"):
        interpolate(model_from("dcgan"), way="straight")
    with pytest.raises(InputError, match="pictures are of images"):
        interpolate(model_from("mlp", spec=Spec((2,))))
    with pytest.raises(InputError, match="no classes"):
        interpolate(model_from("dcgan"), y=1)


# ---- mixing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [3, 4, 8, 18])
def test_bands_share_the_layers_out(layers: int) -> None:
    assert [i for name in ("coarse", "middle", "fine") for i in band(name, layers)] == list(range(layers))


def test_mixed_styles_are_a_s_in_the_band_and_b_s_elsewhere() -> None:
    a, b = torch.randn(2, 4, 7)
    w = mixed(a, b, 6, range(2, 4))
    assert all(torch.equal(w[:, i], a if i in (2, 3) else b) for i in range(6))


def test_the_grid_shows_its_sources() -> None:
    model = model_of(Styled())
    grid = mix(model, which="middle", rows=2, columns=3)
    assert grid.shape == (3, 4, 1, 8, 8) and bool((grid[0, 0] == 1).all())
    style = style_of(model.game)
    w = style.w_of(model.game.latent(5, seed=0))
    assert torch.allclose(grid[1:, 0], style.made(w[:2]), atol=1e-6)
    assert torch.allclose(grid[0, 1:], style.made(w[2:]), atol=1e-6)
    assert torch.allclose(grid[2, 3], style.made(torch.stack([w[4], w[1], w[4]]).unsqueeze(0))[0], atol=1e-6)
    with pytest.raises(InputError, match="mapping and a synthesis"):
        mix(model_from("dcgan"))
    with pytest.raises(InputError, match="use coarse, middle, fine"):
        mix(model, which="rough")


def test_every_spec_is_the_model_s() -> None:
    assert model_of(Styled()).spec == SPEC
