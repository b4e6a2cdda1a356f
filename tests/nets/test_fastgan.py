"""FastGAN's networks: excitation by hand, the paper's widths and skips, noise that follows the latent."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gantlet.core.game import Spec
from gantlet.core.held import draws, hold
from gantlet.nets.fastgan import Excite, FastGANCritic, FastGANGenerator, Tower, Up

SMALL = {"width": 4, "widest": 8}


def test_excitation_by_hand() -> None:
    """x_high * sigmoid(W2 a(W1 pool(x_low))), and half of x_high where W2 is zero."""
    layer = Excite(3, 5)
    low, high = torch.randn(2, 3, 8, 12), torch.randn(2, 5, 7, 9)
    first, second = layer.body[1], layer.body[3]
    pooled = low.view(2, 3, 4, 2, 4, 3).mean((3, 5))
    hidden = torch.einsum("nchw,dchw->nd", pooled, first.weight) + first.bias
    hidden = torch.where(hidden > 0, hidden, 0.2 * hidden)
    gate = torch.sigmoid(hidden @ second.weight[:, :, 0, 0].T + second.bias)
    assert torch.allclose(layer(low, high), high * gate[:, :, None, None], atol=1e-5)
    nn.init.zeros_(second.weight), nn.init.zeros_(second.bias)
    assert torch.equal(layer(low, high), high / 2)


@pytest.mark.parametrize(
    ("side", "pairs"),
    [
        (1024, {5: 1, 6: 2, 7: 3}),  # 8 -> 128, 16 -> 256, 32 -> 512: figure 3
        (256, {5: 1, 6: 2}),
        (32, {3: 0}),
        (8, {1: 0}),
    ],
)
def test_small_maps_excite_large_ones(side: int, pairs: dict[int, int]) -> None:
    with torch.device("meta"):
        G = FastGANGenerator(Spec((3, side, side)))
    assert G.sources == pairs
    assert len(FastGANGenerator(Spec((3, 16, 16)), skips=False, **SMALL).excite) == 0


def test_the_paper_s_widths() -> None:
    """1024 at 4 x 4, then 512, 256, 128, 128, 64, 32, 16, 8 up to 1024 x 1024."""
    with torch.device("meta"):
        G = FastGANGenerator(Spec((3, 1024, 1024)))
    assert [up.layers[-1].out_channels // 2 for up in G.ups] == [512, 256, 128, 128, 64, 32, 16, 8]
    assert G.start == (2 * 1024, 4, 4)
    assert [up.loudness is not None for up in G.ups] == [True, False] * 4
    with torch.device("meta"):
        D = FastGANCritic(Spec((3, 256, 256)))
    assert D.large.widths == [32, 64, 128, 128, 256, 512]  # 256 ... 16, 8
    assert D.decodable == ((5, 512, 5), (4, 256, 4))  # 8 x 8 and 16 x 16: figure 4
    assert D.small.widths == [64, 128, 128, 256, 512]


def test_logits_are_the_mean_of_both_scales() -> None:
    """A map of 5 x 5 patches from 8 x 8, at two scales."""
    D = FastGANCritic(Spec((3, 32, 32)), batch_norm=False, **SMALL).eval()
    patches: list[torch.Tensor] = []
    for tower in (D.large, D.small):
        tower.say.register_forward_hook(lambda m, a, out: patches.append(out))
    logits = D(torch.randn(2, 3, 32, 32)).logits
    assert [p.shape for p in patches] == [(2, 1, 5, 5)] * 2
    assert torch.allclose(logits, torch.cat(patches, 1).flatten(1).mean(1), atol=1e-6)


def test_noise_follows_the_latent() -> None:
    """It is silent at the start; made loud, it changes the image, and the same latent gives the same image anywhere."""
    G = FastGANGenerator(Spec((1, 16, 16)), z=6, **SMALL).eval()
    z = torch.randn(5, 6)
    silent = G(z)
    for up in G.ups:
        if up.loudness is not None:
            nn.init.ones_(up.loudness)
    loud = G(z)
    assert not torch.allclose(silent, loud, atol=1e-3)
    assert torch.equal(loud, G(z))
    assert torch.allclose(loud[3:], G(z[3:]), atol=1e-5)
    up = Up(2, 3, noisy=True, batch_norm=False, place=0)
    nn.init.ones_(up.loudness)
    for layer in up.layers:
        nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)
    x = up(torch.zeros(2, 2, 4, 4), z[:2])  # noise alone: glu(n) = n sigmoid(n), the same in every channel
    assert x.shape == (2, 3, 8, 8)
    assert torch.equal(x[:, 0], x[:, 2])
    assert not torch.allclose(x[0], x[1])


@pytest.mark.parametrize("options", [{}, {"batch_norm": False}, {"spectral": True}])
def test_slopes_have_finite_slopes(options: dict[str, bool]) -> None:
    D = FastGANCritic(Spec((2, 17, 12)), **SMALL, **options)
    x = torch.randn(3, 2, 17, 12, requires_grad=True)
    (slope,) = torch.autograd.grad(D(x).logits.sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert all(bool(torch.isfinite(w.grad).all()) for w in D.parameters() if w.grad is not None)
    assert all(float(w.grad.abs().max()) > 0 for n, w in D.named_parameters() if w.dim() == 4 and "say.3" in n)


def test_a_tower_takes_what_is_left_of_a_small_image() -> None:
    """The second scale of 4 x 5 pixels is 2 x 2, which is judged as it is."""
    tower = Tower((3, 2, 2), width=4, widest=8, batch_norm=True)
    maps, logit = tower(torch.randn(1, 3, 2, 2))
    assert (len(maps), logit.shape) == (1, (1,))


def test_noise_may_be_held() -> None:
    """The same for every row: then equal styles of noise are left, and what moves is the latent's doing alone."""
    G = FastGANGenerator(Spec((1, 16, 16)), z=6, **SMALL).eval()
    for up in G.ups:
        if up.loudness is not None:
            nn.init.ones_(up.loudness)
    z = torch.randn(1, 6)
    near = torch.cat([z, z + 1e-5])
    free = G(near)
    assert draws(G)
    assert float((free[0] - free[1]).detach().abs().max()) > 1e-2
    with hold(G):
        held = G(near)
    assert float((held[0] - held[1]).detach().abs().max()) < 1e-4
    assert not torch.allclose(held[0], free[0], atol=1e-3)
    assert torch.equal(G(near), free)


def test_a_spectrally_normalised_generator_is_the_same_however_often_it_runs() -> None:
    G = FastGANGenerator(Spec((1, 16, 16)), z=6, **SMALL, batch_norm=False, spectral=True)
    z = torch.randn(4, 6)
    assert torch.equal(G(z), G(z))
