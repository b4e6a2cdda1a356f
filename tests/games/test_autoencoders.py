"""Autoencoder and VAE: divergences and likelihoods by hand, a model whose evidence is known, codes that come back."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Laplace, MultivariateNormal, Normal, kl_divergence

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Spec
from gantlet.core.noise import normal
from gantlet.core.when import Now
from gantlet.games.autoencoder import Autoencoder, Coder, Shown
from gantlet.games.decoder import NATS, nats
from gantlet.games.vae import VAE, drawn, kl_to_standard
from helpers import POINTS, number, play

EXACT = torch.float64


def noise(*shape: int, key: str = "test") -> Tensor:
    return normal(shape[1:], shape[0], key=(key,)).to(EXACT)


# ---- closed forms -------------------------------------------------------------------------------------------------


def test_the_divergence_of_gaussians() -> None:
    mean, log_variance = noise(7, 5), noise(7, 5, key="variance")
    standard = Normal(torch.zeros(5, dtype=EXACT), torch.ones(5, dtype=EXACT))
    wanted = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), standard).sum(1)
    assert torch.allclose(kl_to_standard(mean, log_variance), wanted, atol=1e-12)
    assert torch.equal(kl_to_standard(0 * mean, 0 * mean), torch.zeros(7, dtype=EXACT))


def test_decoders_say_what_their_distributions_say() -> None:
    x, mean = torch.tanh(noise(4, 1, 3, 3)), 0.9 * torch.tanh(noise(4, 1, 3, 3, key="mean"))
    wanted = {"gaussian": Normal(mean, 0.3), "laplace": Laplace(mean, 0.3)}
    for name, distribution in wanted.items():
        assert torch.allclose(nats(name, x, mean, 0.3), -distribution.log_prob(x).flatten(1).sum(1), atol=1e-10)
    black = (x > 0).to(EXACT)
    said = -Bernoulli((1 + mean) / 2).log_prob(black).flatten(1).sum(1)
    assert torch.allclose(nats("bernoulli", 2 * black - 1, mean, 1.0), said, atol=1e-3)
    grey = torch.full((1, 1, 1, 1), 0.2, dtype=EXACT)  # a grey of 0.6 is black six times in ten, at the most telling p
    entropy = -(0.6 * math.log(0.6) + 0.4 * math.log(0.4))
    assert number(nats("bernoulli", grey, grey, 1.0)) == pytest.approx(entropy, abs=1e-5)


@pytest.mark.parametrize("name", NATS)
def test_a_decoder_costs_least_where_it_is_right(name: str) -> None:
    """And has a finite slope even where it is certain and wrong."""
    x = torch.tensor([-1.0, -0.3, 0.4, 1.0]).view(4, 1)
    right = nats(name, x, x, 0.5)
    for off in (-0.2, 0.2):
        assert bool((nats(name, x, (x + off).clamp(-1, 1), 0.5)[1:3] > right[1:3]).all())
    wrong = (-x).requires_grad_()
    nats(name, x, wrong, 0.5).sum().backward()
    assert bool(torch.isfinite(wrong.grad).all())
    assert bool((wrong.grad != 0).all())


def test_a_draw_goes_by_the_row_of_the_joint_batch() -> None:
    mean, log_variance = noise(6, 3), noise(6, 3, key="v")
    whole = drawn(mean, log_variance, Now(step=4), "vae")
    part = drawn(mean[2:], log_variance[2:], Now(step=4, first=2), "vae")
    assert torch.equal(whole[2:], part)
    assert not torch.isclose(whole, drawn(mean, log_variance, Now(step=5), "vae")).any()
    many = drawn(torch.full((40_000, 1), 2.0), torch.full((40_000, 1), math.log(9.0)), Now(), "vae")
    assert (number(many.mean()), number(many.std())) == (pytest.approx(2, abs=0.06), pytest.approx(3, abs=0.05))


# ---- a model whose likelihood is known ----------------------------------------------------------------------------

SIGMA = 0.4


class Linear(nn.Module):
    """x = W z + b, or (mean, log variance) = (A x + a, r)."""

    def __init__(self, weight: Tensor, bias: Tensor, rest: Tensor | None = None) -> None:
        super().__init__()
        self.z_dim = weight.shape[1]
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.rest = None if rest is None else nn.Parameter(rest)

    def forward(self, x: Tensor) -> Tensor:
        out = x @ self.weight.T + self.bias
        return out if self.rest is None else torch.cat([out, self.rest.expand(len(x), -1)], 1)


def linear_gaussian(exact: bool) -> tuple[VAE, MultivariateNormal]:
    """p(x|z) = N(W z + b, SIGMA^2), so that p(x) = N(b, W W^T + SIGMA^2); with the true posterior, or another."""
    W, b = noise(2, 2, key="W"), noise(1, 2, key="b")[0]
    W = torch.linalg.qr(W).Q * torch.tensor([1.5, 0.6], dtype=EXACT)  # orthogonal columns: a diagonal posterior
    variance = 1 / (1 + W.square().sum(0) / SIGMA**2)
    A = variance.unsqueeze(1) * W.T / SIGMA**2
    encoder = Linear(A, -A @ b, variance.log()) if exact else Linear(0.5 * A, -A @ b, variance.log() + 0.3)
    game = VAE(POINTS, G=Linear(W, b), E=encoder, decoder="gaussian", scale=SIGMA)
    covariance = W @ W.T + SIGMA**2 * torch.eye(2, dtype=EXACT)
    return game.to(EXACT), MultivariateNormal(b, covariance)


def elbo(game: VAE, x: Tensor) -> float:
    return number(game.wants(Shown(Now(), x)).stats["elbo"])


def test_the_bound_is_the_evidence_with_the_true_posterior_and_under_it_with_another() -> None:
    for exact in (True, False):
        game, evidence = linear_gaussian(exact)
        x = evidence.mean + noise(40_000, 2, key="x") @ torch.linalg.cholesky(evidence.covariance_matrix).T
        log_p, bound = float(evidence.log_prob(x).mean()), elbo(game, x)
        assert bound == pytest.approx(log_p, abs=0.02) if exact else bound < log_p - 0.1


def test_terms_and_stats_of_a_vae() -> None:
    game, _ = linear_gaussian(exact=False)
    game.beta = lambda now: 0.5 * now.step
    scene = Shown(Now(step=6), noise(5, 2, key="x"))
    loss = game.wants(scene)
    assert list(loss.terms) == ["reconstruction", "kl"]
    mean, log_variance = game.posterior(scene.real)
    kl = number(kl_to_standard(mean, log_variance).mean())
    assert number(loss.terms["kl"]) == pytest.approx(3 * kl)
    assert number(loss.stats["elbo"]) == pytest.approx(-number(loss.terms["reconstruction"]) - kl)
    assert torch.equal(game.encode(scene.real), mean)


@pytest.mark.parametrize("decoder", NATS)
def test_training_raises_the_bound(decoder: str) -> None:
    made = play("vae", f"decoder={decoder}", "players.AE.lr=1e-2")
    bounds = [number(made.step()["AE"].stats["elbo"]) for _ in range(60)]
    assert sum(bounds[-5:]) / 5 > sum(bounds[:5]) / 5 + 0.5


# ---- autoencoders -------------------------------------------------------------------------------------------------


def plain(**options: Any) -> Autoencoder:
    torch.manual_seed(0)
    G = registry.generator.parts["mlp"].fn(POINTS, z=2, hidden=[8])
    return Autoencoder(POINTS, G=G, E={"use": "mlp", "hidden": [8]}, **options)


def test_a_sample_is_decoded_from_the_gaussian_of_the_codes() -> None:
    """Latents of a standard normal become codes with the mean and covariance of those that were seen."""
    coder = Coder(nn.Identity(), 3).double()
    root = torch.tensor([[2.0, 0, 0], [1.0, 0.5, 0], [-1.0, 0.2, 0.1]], dtype=EXACT)
    mean = torch.tensor([1.0, -2.0, 3.0], dtype=EXACT)
    codes = noise(20_000, 3) @ root.T + mean
    for _ in range(1500):
        coder.look(codes[:2000])
    seen = codes[:2000]
    drawn_codes = coder.of(noise(20_000, 3, key="z"))
    assert torch.allclose(drawn_codes.mean(0), seen.mean(0), atol=0.05)
    assert torch.allclose(torch.cov(drawn_codes.T), torch.cov(seen.T), rtol=0.05, atol=0.05)
    z = noise(5, 3, key="back")
    assert torch.allclose(coder.back(coder.of(z)), z, atol=1e-8)


def test_flat_codes_can_be_drawn_from() -> None:
    coder = Coder(nn.Identity(), 4)
    for _ in range(3000):
        coder.look(torch.ones(8, 4))
    assert bool(torch.isfinite(coder.of(torch.randn(5, 4))).all())
    assert bool(torch.isfinite(coder.back(torch.ones(5, 4))).all())


def test_generate_after_encode_is_the_reconstruction() -> None:
    game = plain().double()
    x = noise(6, 2)
    for _ in range(50):
        game.E.look(game.E(noise(64, 2, key="seen")))
    assert torch.allclose(game.generate(game.encode(x)), game.G(game.E(x)), atol=1e-8)


def test_errors_by_hand() -> None:
    x = noise(6, 2)
    for name, cost in {"squared": torch.square, "absolute": torch.abs}.items():
        game = plain(error=name).double()
        wanted = cost(x - game.G(game.E(x))).mean()
        assert number(game.wants(Shown(Now(), x)).total) == pytest.approx(number(wanted))
    noisy = plain(noise=0.5).double()
    assert number(noisy.wants(Shown(Now(), x)).total) != number(noisy.wants(Shown(Now(step=1), x)).total)


def test_moments_move_once_a_step_however_far_a_dynamics_looks_ahead() -> None:
    made = play("autoencoder", "dynamics=extragradient")
    counted: list[int] = []
    made.state.game.E.look = lambda codes, now: counted.append(len(codes))
    made.run(2)
    assert len(counted) == 4
    plain_made, ahead = (play("autoencoder", f"dynamics={d}").run(1) for d in ("alternating", "extragradient"))
    for made in (plain_made, ahead):  # of one batch's eight rows, not of two
        assert number(made.state.game.E.rows) == 8


def test_moments_begin_as_the_first_batch_s_and_do_not_mind_pieces() -> None:
    """Three batches far from zero: theirs, older ones counting 0.99 as much, however they are cut."""
    batches = [100 + 0.01 * noise(8, 3, key=("moments", i)).float() for i in range(3)]
    whole, cut = Coder(nn.Identity(), 3), Coder(nn.Identity(), 3)
    for step, codes in enumerate(batches):
        whole.look(codes, Now(step=step))
        for first in (0, 2, 4, 6):
            cut.look(codes[first : first + 2], Now(step=step, first=first))
        if not step:
            assert torch.allclose(whole.mean, codes.mean(0))
            assert torch.allclose(whole.covariance, torch.cov(codes.T, correction=0), rtol=1e-3, atol=1e-9)
    counts = torch.tensor([0.99**2, 0.99, 1.0], dtype=EXACT).repeat_interleave(8)
    seen = torch.cat(batches).double()
    middle = (counts.unsqueeze(1) * seen).sum(0) / counts.sum()
    off = seen - middle
    wanted = (off.T * counts) @ off / counts.sum()
    for coder in (whole, cut):
        assert torch.allclose(coder.mean.double(), middle, rtol=1e-6)
        assert torch.allclose(coder.covariance.double(), wanted, rtol=0.05, atol=3e-6)
    spread = whole.of(noise(20_000, 3, key="z").float()).std(0)
    assert torch.allclose(spread, wanted.diagonal().sqrt().float(), rtol=0.05)


def test_a_covariance_that_rounding_broke_can_still_be_drawn_from() -> None:
    coder = Coder(nn.Identity(), 2).double()
    coder.covariance.copy_(torch.tensor([[1.0, 1.1], [1.1, 1.0]]))  # one eigenvalue is -0.1
    z = noise(4000, 2)
    assert torch.allclose(torch.cov(coder.of(z).T), torch.full((2, 2), 1.05, dtype=EXACT), atol=0.1)
    assert torch.allclose(coder.back(coder.of(z)), z)


def test_an_autoencoder_learns_points_on_a_line() -> None:
    """One latent is enough for points on a line: the error falls under a tenth of the variance."""

    def line(n: int, step: int) -> Tensor:
        t = normal((1,), n, key=("line", step))
        return torch.cat([t, -2 * t], 1)

    torch.manual_seed(0)
    G = registry.generator.parts["mlp"].fn(POINTS, z=1, hidden=[16])
    game = Autoencoder(POINTS, G=G, E={"use": "mlp", "hidden": [16]})
    opt = torch.optim.Adam(game.parameters(), lr=1e-2)
    for step in range(200):
        opt.zero_grad()
        game.wants(Shown(Now(step=step), line(64, step))).total.backward()
        opt.step()
    x = line(500, -1)
    with torch.no_grad():
        assert float((game.generate(game.encode(x)) - x).square().mean()) < 0.1 * float(x.var())
        spread = game.generate(game.latent(500, seed=0))
    assert float((2 * spread[:, 0] + spread[:, 1]).abs().mean()) < 0.3  # samples are on the line too


@pytest.mark.parametrize("name", ["autoencoder", "vae", "aae"])
def test_parts_that_do_not_fit_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"game\.E.*no encoder named 'dcgam'; did you mean 'dcgan'"):
        play(name, "E=dcgam")
    with pytest.raises(InputError, match=r"network 'dcgan' is for images"):
        registry.game.parts[name].fn(POINTS, G={"use": "mlp", "z": 3, "hidden": [4]}, E={"use": "dcgan"})


def test_a_stage_makes_nothing() -> None:
    game = play("vae").state.game
    x = torch.zeros(3, 1, 8, 8)
    assert game.stage(Batch(x), Now(step=3)) == Shown(Now(step=3), x)
    assert game.stagers() == []
    assert Spec((1, 8, 8)).classes == game.classes
