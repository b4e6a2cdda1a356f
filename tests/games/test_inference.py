"""AAE, BiGAN and ALI: who moves what, whom the critic is asked about, what an inverse is worth, what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.critics import Verdict
from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Spec
from gantlet.core.noise import normal
from gantlet.core.train import train
from gantlet.core.when import Now
from gantlet.games.aae import AAE
from gantlet.games.bigan import BiGAN, Made, exchanged, paired
from helpers import IMAGES, POINTS, Rows, number, play, same, state_of

EXACT = torch.float64
ORDERED = [n for n in sorted(registry.adversarial.parts) if registry.adversarial.parts[n].fn().ordered]
STATELESS = [n for n in ORDERED if registry.adversarial.parts[n].fn().state is None]


class Turned(nn.Module):
    """x = Q z, or z = Q^T x."""

    z_dim = 2

    def __init__(self, Q: Tensor) -> None:
        super().__init__()
        self.Q = nn.Parameter(Q)

    def forward(self, z: Tensor) -> Tensor:
        return z @ self.Q.T


def rows(n: int, key: str = "rows") -> Tensor:
    return normal((2,), n, key=(key,)).to(EXACT)


def bigan(**options: Any) -> BiGAN:
    torch.manual_seed(0)
    Q = torch.linalg.qr(torch.randn(2, 2, dtype=EXACT)).Q
    options = {"G": Turned(Q.clone()), "E": Turned(Q.T.clone()), "D": {"use": "mlp", "hidden": [8]}, **options}
    return BiGAN(POINTS, **options).double()


def aae(**options: Any) -> AAE:
    torch.manual_seed(0)
    small: dict[str, Any] = {"G": {"use": "mlp", "z": 2, "hidden": [8]}, "E": {"use": "mlp", "hidden": [8]}}
    return AAE(POINTS, **{**small, "D": {"use": "mlp", "hidden": [8]}, **options}).double()


# ---- pairs --------------------------------------------------------------------------------------------------------


def test_a_pair_is_a_sample_with_its_code() -> None:
    game = bigan()
    scene = game.stage(Batch(rows(5)), Now(step=2))
    assert torch.allclose(scene.real, torch.cat([rows(5), game.E(rows(5))], 1))
    assert scene.z is not None
    assert torch.allclose(scene.fake, torch.cat([game.G(scene.z), scene.z], 1))
    assert scene.given == ()


def test_with_an_inverse_nobody_can_tell_the_pairs_apart() -> None:
    """x = G(z) and E = G^-1: the pairs are the same row by row, so every critic says the same of both sides and D's loss
    is at least 2 log 2; with another E it can be under that.
    """
    game = bigan()
    z = rows(256, "z")
    fake, real = Made(game.G)(z), paired(game.G(z), game.E(game.G(z)))
    assert torch.allclose(real, fake, atol=1e-12)
    said = [v.logits for v in game.arena.critics(torch.cat([real, fake]), now=Now(), side="real")]
    assert torch.allclose(*said[0].chunk(2), atol=1e-10)
    assert floor(real, fake) > 2 * math.log(2) - 1e-6
    other = bigan(E=Turned(torch.eye(2, dtype=EXACT)))
    assert floor(paired(game.G(z), other.E(game.G(z))), fake) < 2 * math.log(2) - 0.1


def floor(real: Tensor, fake: Tensor) -> float:
    """The least loss of a quadratic critic on these pairs, by Newton's method (it is convex)."""

    def seen(u: Tensor) -> Tensor:
        u = u.detach()
        i, j = torch.triu_indices(4, 4)
        return torch.cat([torch.ones(len(u), 1, dtype=EXACT), u, u[:, i] * u[:, j]], 1)

    phi = torch.cat([seen(real), -seen(fake)])
    w = torch.zeros(phi.shape[1], dtype=EXACT)
    for _ in range(30):
        p = torch.sigmoid(-phi @ w)
        hessian = phi.T @ (phi * (p * (1 - p)).unsqueeze(1)) + 1e-9 * len(phi) * torch.eye(len(w), dtype=EXACT)
        w = w + 0.7 * torch.linalg.solve(hessian, phi.T @ p)
    return number(2 * F.softplus(-phi @ w).mean())


@pytest.mark.parametrize("name", STATELESS)
def test_g_and_e_want_the_labels_exchanged(name: str) -> None:
    """Their loss is D's with the sides swapped: descending, a pair that D is unsure of is pushed over from either side."""
    pair = registry.adversarial.parts[name].fn()
    real, fake = (torch.randn(8, dtype=EXACT) for _ in range(2))
    assert number(exchanged(pair).g(fake, real)) == pytest.approx(number(pair.d(fake, real)))
    real, fake = (torch.full((8,), 0.5, dtype=EXACT, requires_grad=True) for _ in range(2))
    up, down = torch.autograd.grad(exchanged(pair).g(fake, real), [real, fake])
    assert number(up.sum()) > 0 > number(down.sum())


def test_both_g_and_e_move_in_their_turn_and_d_in_its() -> None:
    for name in ("bigan", "ali"):
        made = play(name)
        game = made.state.game
        parts = {"D": game.arena.critics, "G": game.G, "E": game.E}
        before = {k: [w.detach().clone() for w in part.parameters()] for k, part in parts.items()}
        batch, now = made.engine.draw(made.state, made.data)
        gradient = made.engine.gradient(made.state, made.state.turns[1], batch, now)
        made.engine.move(made.state, "GE", gradient)
        assert {k for k, part in parts.items() if not same(before[k], part.parameters())} == {"G", "E"}


def test_a_linear_pair_of_networks_finds_its_inverse() -> None:
    """From a generator and an encoder that do not fit, a penalised critic of products brings E G towards one."""

    class Products(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(10, dtype=EXACT))

        def forward(self, u: Tensor) -> Verdict:
            i, j = torch.triu_indices(4, 4)
            return Verdict((u[:, i] * u[:, j]) @ self.w, (u,))

    class Normal(Rows):
        def take(self, first: int, n: int, device: torch.device) -> Batch:
            return Batch(normal((2,), n, key=("bigan",), first=first).to(EXACT))

    start = torch.tensor([[0.9, -0.5], [0.4, 0.9]], dtype=EXACT)
    r1 = registry.penalty.parts["r1"].fn(gamma=0.2)
    game = bigan(G=Turned(start), E=Turned(torch.eye(2, dtype=EXACT)), D=Products(), penalties={"r1": r1})
    before = apart(game)
    train(state_of(game, lr=0.2), Engine(batch=128), Normal(POINTS), 120)
    now = apart(game)
    assert now < 0.5 * before, (before, now)


def apart(game: BiGAN) -> float:
    """How far E G is from doing nothing."""
    return number((game.E.Q @ game.G.Q - torch.eye(2)).square().sum())


def test_a_stochastic_encoder_draws_by_the_row_and_encodes_to_its_mean() -> None:
    game = bigan(E={"use": "mlp", "hidden": [8]}, stochastic=True)
    x = rows(6)
    whole, part = game.stage(Batch(x), Now(step=1)), game.stage(Batch(x[2:]), Now(step=1, first=2))
    assert torch.allclose(whole.real[2:], part.real)
    mean, log_variance = game.E(x).chunk(2, 1)
    assert torch.equal(game.encode(x), mean)
    deviation = (whole.real[:, 2:] - mean) / (0.5 * log_variance).exp()
    assert bool((deviation.abs() > 1e-3).any())
    assert float(deviation.detach().abs().max()) < 6


def test_penalties_smooth_the_critic_in_x_and_z() -> None:
    game = bigan(penalties={"r1": registry.penalty.parts["r1"].fn(gamma=2.0)})
    scene = game.stage(Batch(rows(6)), Now())
    pair = scene.real.detach().requires_grad_()
    (said,) = game.arena.critics(pair, now=Now(), side="real")
    (slope,) = torch.autograd.grad(said.logits.sum(), pair)
    assert number(game.d_wants(scene).terms["r1"]) == pytest.approx(number(slope.square().sum(1).mean()))
    assert bool((slope[:, 2:] != 0).any())


PLAY_WITH_PAIRS = [
    "image-pool",
    "instance-noise",
    "minibatch-stddev",
    "historical-averaging",
    "feature-matching",
    "top-k",
]


@pytest.mark.parametrize("trick", [t for t in PLAY_WITH_PAIRS if t in registry.trick.parts])
@pytest.mark.parametrize("name", ["bigan", "aae"])
def test_tricks_of_vectors_play(name: str, trick: str) -> None:
    made = play(name, f"tricks.{trick}={{}}")
    made.run(3).state.check_finite()


def test_what_cannot_be_is_refused_with_the_way_out() -> None:
    with pytest.raises(InputError, match=r"D: DCGANCritic does not take codes beside samples; use joint or mlp"):
        play("bigan", "D=dcgan")
    with pytest.raises(
        InputError, match=r"tricks: D sees vectors of \[140\], a pair is one of \[70\]; leave packing out"
    ):
        play("bigan", "tricks.packing={}")
    with pytest.raises(InputError, match=r"adversarial: bigan exchanges the labels of D's loss .* higher logit"):
        play("bigan", "adversarial=mmd")
    with pytest.raises(InputError, match="it carries a state, which one player's turn would move twice"):
        play("bigan", "adversarial=began")
    with pytest.raises(InputError, match="diffaugment"):
        play("bigan", "tricks.diffaugment={}")
    with pytest.raises(InputError, match=r"tricks\.latent-optimization: it is for a generator of latents"):
        play("aae", "tricks.latent-optimization={}")
    with pytest.raises(InputError, match="makes its fakes without any; leave it out"):
        play("aae", "penalties.zcr={}").step()


@pytest.mark.parametrize("critic", ["joint", "mlp", "maxout"])
def test_critics_of_pairs(critic: str) -> None:
    """One that takes (x, z) is given both, one of vectors the pair; z is listened to."""
    made = play("bigan", f"D={critic}", *(["D.width=4"] if critic == "joint" else ["D.hidden=[8]"]))
    scene = made.state.game.stage(made.data.take(0, 4, torch.device("cpu")), Now())
    critics = made.state.game.arena.critics
    pair = scene.fake.detach().requires_grad_()
    (said,) = critics(pair, now=Now(), side="fake")
    (slope,) = torch.autograd.grad(said.logits.sum(), pair)
    assert bool((slope[:, :64] != 0).any())
    assert bool((slope[:, 64:] != 0).any())


# ---- codes --------------------------------------------------------------------------------------------------------


def test_codes_are_fakes_and_draws_of_the_prior_are_real() -> None:
    game = aae()
    scene = game.stage(Batch(rows(5)), Now(step=1))
    assert torch.equal(scene.codes.fake, game.E(rows(5)))
    later = game.stage(Batch(rows(5)), Now(step=2))
    assert not torch.isclose(scene.codes.real, later.codes.real).any()
    part = game.stage(Batch(rows(5)[2:]), Now(step=1, first=2))
    assert torch.equal(part.codes.real, scene.codes.real[2:])
    many = game.stage(Batch(rows(20_000)), Now()).codes.real
    assert torch.allclose(many.std(0), torch.ones(2, dtype=EXACT), atol=0.03)


def test_three_turns_and_who_moves_in_each() -> None:
    game = aae()
    assert [(t.name, t.player) for t in game.turns()] == [("AE", "AE"), ("D", "D"), ("E", "E")]
    owned = {k: {id(p) for m in modules for p in m.parameters()} for k, modules in game.owns().items()}
    assert owned["E"] < owned["AE"]
    assert not owned["D"] & owned["AE"]
    scene = game.stage(Batch(rows(5)), Now())
    restored = game.G(game.E(rows(5)))
    assert number(game.ae_wants(scene).total) == pytest.approx(number((restored - rows(5)).square().mean()))


def test_codes_take_the_prior_s_shape() -> None:
    """A linear encoder of normal points three times too wide, with a critic of squares: its codes shrink to the prior."""

    class Squares(nn.Module):
        def __init__(self, spec: Spec) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(2))

        def forward(self, z: Tensor) -> Verdict:
            return Verdict(z.square() @ self.w, (z,))

    class Wide(Rows):
        def take(self, first: int, n: int, device: torch.device) -> Batch:
            return Batch(3 * normal((2,), n, key=("wide",), first=first).to(EXACT))

    game = aae(
        E=Turned(torch.eye(2)), G=Turned(torch.eye(2)), D=Squares,
        penalties={"r1": registry.penalty.parts["r1"].fn(gamma=0.1)},
    )  # fmt: skip
    state = state_of(game, lr=0.1)
    state.turns = [turn for turn in state.turns if turn.player != "AE"]  # nothing to restore
    train(state, Engine(batch=128), Wide(POINTS), 120)
    codes = game.encode(Wide(POINTS).take(0, 4000, torch.device("cpu")).x).detach()
    assert torch.allclose(codes.std(0), torch.ones(2, dtype=EXACT), atol=0.25)


@pytest.mark.parametrize("name", ["aae", "bigan", "ali", "vae", "autoencoder"])
def test_what_is_saved_can_encode(name: str) -> None:
    made = play(name).run(1)
    for game in (made.state.game, made.state.best_game()):
        assert {"G", "E"} <= set(game.made_of())
        z = game.eval().encode(made.data.take(0, 3, torch.device("cpu")).x)
        assert z.shape == (3, game.z_dim)
        assert game.generate(z).shape == (3, *IMAGES.shape)
