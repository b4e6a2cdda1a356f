"""R1 and R2 by finite differences tend to those by autograd: value, gradient, order of the error, traps."""

from __future__ import annotations

import pytest
import torch
from penalty_cases import FAKE, REAL, A, Linear, Makes, Quadratic, Smooth, W, Z, drawn, linear, made, value
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gantlet.core.noise import normal
from gantlet.core.when import Now
from helpers import number, play

MANY = 20_000  # rows: the mean over their draws is within 1 % of the expectation
PAIRS = [("fd-r1", "r1"), ("fd-r2", "r2")]


def many(x: Tensor) -> Tensor:
    return x.repeat(MANY // len(x), 1)


def wide() -> dict[str, Tensor]:
    return {"real": many(REAL), "fake": many(FAKE), "z": many(Z)}


@pytest.mark.parametrize("pair", PAIRS, ids=lambda p: p[0])
@pytest.mark.parametrize("critic", [Quadratic, Smooth])
def test_in_the_mean_it_is_the_slope_s(pair: tuple[str, str], critic: type[nn.Module]) -> None:
    """Over many draws the value and the gradient in the critic's weights are those of autograd."""
    D = critic()
    weights = list(D.parameters())
    found, wanted = (value(made(n, gamma=1.0), D, **wide()) for n in pair)
    assert number(found) == pytest.approx(number(wanted), rel=0.05)
    grads = [torch.autograd.grad(v, weights, allow_unused=True) for v in (found, wanted)]
    for g, w in zip(*grads):  # a bias moves both points alike: no gradient, or none but rounding
        w = torch.zeros_like(g) if w is None else w
        assert float((g - w).norm()) < 0.05 * float(w.norm()) + 1e-9


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_the_error_of_the_mean_is_of_order_sigma_squared(sigma: float) -> None:
    """On x A x: E ((2 x A v + sigma v A v)^2) = |2 A x|^2 + sigma^2 (tr(A)^2 + 2 |A|^2), since odd moments vanish."""
    found = number(value(made("fd-r1", gamma=2.0, sigma=sigma), Quadratic(), **wide()))
    error = float(A.trace() ** 2 + 2 * A.square().sum()) * sigma**2
    assert found == pytest.approx(float((2 * REAL @ A).square().sum(1).mean()) + error, rel=0.05)


def test_draws_are_averaged() -> None:
    """The mean over directions k of (w . v_k)^2, another key each."""
    by_hand = [float((drawn("fd", "real", k) @ W).square().mean()) for k in range(5)]
    assert number(value(made("fd-r1", gamma=2.0, draws=5), Linear())) == pytest.approx(sum(by_hand) / 5, abs=1e-10)
    assert len(set(by_hand)) == 5


def test_no_second_derivative_is_taken() -> None:
    """A critic whose backward cannot be differentiated, as compiled ones and fused attention, is penalised."""

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(x, w)  # type: ignore[attr-defined]
            return x @ w

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: object, grad: Tensor) -> tuple[Tensor, Tensor]:
            x, w = ctx.saved_tensors  # type: ignore[attr-defined]
            return torch.outer(grad, w), x.T @ grad

    class Fused(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return Once.apply(x, self.w)

    critic = Fused()
    (grad,) = torch.autograd.grad(value(made("fd-r1", gamma=2.0), critic), [critic.w])
    v = drawn("fd", "real", 0)
    assert torch.allclose(grad, 2 * ((v @ W).unsqueeze(1) * v).mean(0), rtol=1e-9)
    with pytest.raises(RuntimeError, match=r"does not require grad|once_differentiable"):
        torch.autograd.grad(value(made("r1"), critic), [critic.w])


def test_lenses_draw_the_same_at_both_points() -> None:
    """Noise that a lens adds is that of the side, so it leaves the difference alone however small sigma is."""

    class Noisy:
        def shown(self, x: Tensor, given: tuple[Tensor, ...], now: Now, side: str) -> tuple[Tensor, tuple[Tensor, ...]]:
            return x + normal((3,), len(x), key=(now.seed, now.step, side), first=now.first).double(), given

    for name, side, x in (("fd-r1", "real", REAL), ("fd-r2", "fake", FAKE)):
        found = number(value(made(name, gamma=2.0, sigma=1e-6), Linear(), lenses=[Noisy()]))
        v = drawn("fd", side, 0)
        assert found == pytest.approx(float((linear(x + v) - linear(x)).square().mean()), rel=1e-6)


def test_spectral_norm_does_not_drift_between_the_points() -> None:
    """Each use of such a weight changes it a little, which a division by a small sigma would blow up."""
    critic = Smooth()
    for layer in (critic.body[0], critic.body[2]):
        spectral_norm(layer)
        with torch.no_grad():  # far from the singular vectors, so that every use changes the estimate
            for side in ("_u", "_v"):
                vector = getattr(layer.parametrizations.weight[0], side)
                vector.copy_(nn.functional.normalize(torch.arange(1.0, len(vector) + 1).double() ** 2, dim=0))
    uses = [critic(REAL).detach() for _ in range(2)]
    assert float((uses[0] - uses[1]).abs().max()) > 1e-4
    found = number(value(made("fd-r1", gamma=2.0, sigma=1e-6), critic))
    v = drawn("fd", "real", 0)
    critic.eval()
    x = REAL.clone().requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).sum(), x)
    assert found == pytest.approx(float((slope * v).sum(1).square().mean()), rel=0.1)


def test_low_precision_does_not_drown_the_difference() -> None:
    """Under bf16 both points are evaluated in float32: value and gradient are those without autocast."""
    critic = Smooth().float()
    single = {"real": REAL.float(), "fake": FAKE.float(), "z": Z.float(), "G": Makes().float()}
    said = []
    for low in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            found = value(made("fd-r1"), critic, **single)
        said.append([found.detach(), *torch.autograd.grad(found, list(critic.parameters()))])
    for a, b in zip(*said):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-4)


class Drops(nn.Module):
    """w . x of a half of the entries, drawn anew each time."""

    def __init__(self, own: bool) -> None:
        super().__init__()
        self.w, self.own, self.asked = nn.Parameter(W.clone()), own, 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += 1
        kept = 2.0 * (torch.rand_like(x) < 0.5) if self.own else nn.functional.dropout(torch.ones_like(x))
        return (kept * x) @ self.w


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("name", ["fd-r1", "fd-r2"])
def test_what_a_critic_draws_is_the_same_at_both_points(name: str, own: bool) -> None:
    """Of w . x without half of its entries, twice as large, E (slope . v)^2 is 2 |w|^2, at any sigma and for all draws."""
    for sigma in (1e-2, 1e-6):
        torch.manual_seed(0)
        found = number(value(made(name, gamma=2.0, sigma=sigma, draws=2), Drops(own), **wide()))
        assert found == pytest.approx(2 * float(W.square().sum()), rel=0.05)


def test_only_a_critic_that_draws_is_asked_about_the_samples_again() -> None:
    """It is asked about both sides and one more point a direction."""

    class Counts(Linear):
        asked = 0

        def forward(self, x: Tensor) -> Tensor:
            self.asked += 1
            return super().forward(x)

    for critic, times in ((Counts(), 4), (Drops(own=True), 5)):
        value(made("fd-r1", draws=2), critic)
        assert critic.asked == times


def test_the_first_gan_s_dropout_plays() -> None:
    """Its critic drops halves: the term is as small as that of R1, not the difference of two draws over sigma."""
    made_ = play("gan2014", "penalties.fd-r1={}", "penalties.r1={}")
    said = made_.step()["D"].terms
    assert number(said["fd-r1"]) < 100 * number(said["r1"]) + 1e-6
