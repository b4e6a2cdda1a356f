"""Adversarial losses: directions, hand-computed values, gradients, equilibria."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gantlet.core import registry
from gantlet.core.critics import Adversarial, Verdict
from gantlet.core.dynamics import buffers_kept
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from helpers import POINTS, Rows, number, play

SHAPES = [(7,), (3, 2), (2, 1, 3, 2)]  # a scalar, a sequence, a patch map
CARRIED = {"began": {"k": 0.5}}  # what a loss carries after some steps, where it begins without any say


def pair(name: str, **options: Any) -> Adversarial:
    """The pair, under way; hypothetical evaluations leave no trace in it, and it draws the same each time."""
    found = registry.adversarial.parts[name].fn(**options)
    assert isinstance(found, Adversarial)
    for buffer, value in CARRIED.get(name, {}).items():
        found.state.get_buffer(buffer).fill_(value)

    def replayed(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def same(*logits: Any) -> Tensor:
            torch.default_generator.manual_seed(0)
            with buffers_kept(found.state or torch.nn.Module()):
                return loss(*logits)

        return same

    return found._replace(d=replayed(found.d), g=replayed(found.g))


PAIRS = sorted(registry.adversarial.parts)
ORDERED = [n for n in PAIRS if pair(n).ordered]
PULLED_BACK = ("least-squares", "pearson")  # quadratic: a logit past its target returns to it


def logits(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("name", ORDERED)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_d_raises_real_and_lowers_fake_and_g_raises_fake(name: str, shape: tuple[int, ...], seed: int) -> None:
    """Descending D's loss raises every real logit and lowers every fake one; descending G's raises every fake one."""
    real, fake = (0.4 * logits(shape, seed)).detach(), (0.4 * logits(shape, seed + 99)).detach()
    real, fake = real.clamp(-0.9, 0.9).requires_grad_(), fake.clamp(-0.9, 0.9).requires_grad_()
    up, down = torch.autograd.grad(pair(name).d(real, fake), (real, fake))
    assert bool((up < 0).all()) if name != "least-squares" else bool(((up < 0) == (real < 1)).all())
    assert bool((down > 0).all()) if name != "least-squares" else bool(((down > 0) == (fake > 0)).all())
    (raised,) = torch.autograd.grad(pair(name).g(fake, real), fake)
    assert bool((raised < 0).all())


@pytest.mark.parametrize("name", ORDERED)
@pytest.mark.parametrize("seed", range(4))
def test_far_logits_are_never_pushed_the_wrong_way(name: str, seed: int) -> None:
    """Wherever a logit lies short of its target; a hinge may be flat beyond its margin."""
    real, fake = (
        (-5 - logits((6,), seed).detach().abs()).requires_grad_(),
        (5 + logits((6,), seed).detach().abs()).requires_grad_(),
    )
    up, down = torch.autograd.grad(pair(name).d(real, fake), (real, fake))
    assert bool((up < 0).all())
    assert bool((down > 0).all())
    up, down = torch.autograd.grad(pair(name).d(fake, real), (fake, real))
    if name not in PULLED_BACK:
        assert bool((up <= 0).all())
        assert bool((down >= 0).all())


@pytest.mark.parametrize("name", [n for n in PAIRS if n not in ORDERED])
def test_a_loss_without_a_direction_says_so(name: str) -> None:
    """Somewhere it lowers a real logit, raises a fake one, or lowers a fake one in G's turn."""
    real, fake = logits((9,), 1), logits((9,), 2)
    up, down = torch.autograd.grad(pair(name).d(real, fake), (real, fake))
    (raised,) = torch.autograd.grad(pair(name).g(fake, real), fake)
    assert bool((up > 0).any() | (down < 0).any() | (raised > 0).any())


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def log1pexp(*xs: float) -> float:
    """log(1 + sum exp x)"""
    return math.log1p(sum(map(math.exp, xs)))


def rational(squared: float) -> float:
    return sum((1 + squared / (2 * alpha)) ** -alpha for alpha in (0.2, 0.5, 1, 2, 5))


REAL, FAKE = [1.0, -2.0], [0.5, 3.0]
BY_HAND = {
    "minimax": (
        (softplus(-1) + softplus(2)) / 2 + (softplus(0.5) + softplus(3)) / 2,
        -(softplus(0.5) + softplus(3)) / 2,
    ),
    "non-saturating": (
        (softplus(-1) + softplus(2)) / 2 + (softplus(0.5) + softplus(3)) / 2,
        (softplus(-0.5) + softplus(-3)) / 2,
    ),
    "wasserstein": (1.75 + 0.5, -1.75),
    "least-squares": (0.5 * (0 + 9) / 2 + 0.5 * (0.25 + 9) / 2, 0.5 * (0.25 + 4) / 2),
    "hinge": ((0 + 3) / 2 + (1.5 + 4) / 2, -1.75),
    "relativistic": ((softplus(-0.5) + softplus(5)) / 2, (softplus(0.5) + softplus(-5)) / 2),
    "relativistic-average": (  # the means are -0.5 and 1.75
        (softplus(0.75) + softplus(3.75)) / 2 + (softplus(1) + softplus(3.5)) / 2,
        (softplus(-1) + softplus(-3.5)) / 2 + (softplus(-0.75) + softplus(-3.75)) / 2,
    ),
    "dual-contrastive": (
        (log1pexp(-0.5, 2) + log1pexp(2.5, 5)) / 2 + (log1pexp(-0.5, 2.5) + log1pexp(2, 5)) / 2,
        (log1pexp(0.5, -2.5) + log1pexp(-2, -5)) / 2 + (log1pexp(0.5, -2) + log1pexp(-2.5, -5)) / 2,
    ),
    "kl": (0.5 + (math.exp(-0.5) + math.exp(2)) / 2, -1.75),
    "reverse-kl": ((math.exp(-1) + math.exp(2)) / 2 + 0.75, (math.exp(-0.5) + math.exp(-3)) / 2),
    "pearson": (0.5 + (0.0625 + 0.5 + 2.25 + 3) / 2, -1.75),
    "hellinger": (
        (math.exp(-1) + math.exp(2)) / 2 + (math.exp(0.5) + math.exp(3)) / 2 - 2,
        (math.exp(-0.5) + math.exp(-3)) / 2 - 1,
    ),
    "jensen-shannon": (
        (softplus(-1) + softplus(2)) / 2 + (softplus(0.5) + softplus(3)) / 2 - math.log(4),
        (softplus(-0.5) + softplus(-3)) / 2 - math.log(2),
    ),
    "logistic": ((softplus(-1) + softplus(2)) / 2 + (softplus(0.5) + softplus(3)) / 2, -1.75),
    "ebgan": (0.5 + (1.5 + 4) / 2, -1.75),
    "began": (0.5 - 0.5 * -1.75, -1.75),  # k = 0.5
    "mmd": (
        -(rational(9) + rational(6.25) - sum(map(rational, (0.25, 4, 6.25, 25))) / 2),
        rational(9) + rational(6.25) - sum(map(rational, (0.25, 4, 6.25, 25))) / 2,
    ),
    "sliced-wasserstein": (
        (softplus(-1) + softplus(2)) / 2 + (softplus(0.5) + softplus(3)) / 2,
        (2.5**2 + 2**2) / 2,
    ),
}
AT_ZERO: dict[str, Any] = {  # D's and G's loss where real and fake cannot be told apart; a function of the rows
    "minimax": (2 * math.log(2), -math.log(2)),
    "non-saturating": (2 * math.log(2), math.log(2)),
    "wasserstein": (0.0, 0.0),
    "least-squares": (0.5, 0.5),
    "hinge": (2.0, 0.0),
    "relativistic": (math.log(2), math.log(2)),
    "relativistic-average": (2 * math.log(2), 2 * math.log(2)),
    "dual-contrastive": (lambda n: 2 * math.log(1 + n), lambda n: 2 * math.log(1 + n)),
    "kl": (math.exp(-1), 0.0),  # its optimum is a logit of one
    "reverse-kl": (0.0, 1.0),
    "pearson": (0.0, 0.0),
    "hellinger": (0.0, 0.0),
    "jensen-shannon": (0.0, 0.0),
    "logistic": (2 * math.log(2), 0.0),
    "ebgan": (1.0, 0.0),
    "began": (0.0, 0.0),
    "mmd": (0.0, 0.0),
    "sliced-wasserstein": (2 * math.log(2), 0.0),
}


@pytest.mark.parametrize("name", PAIRS)
def test_values_by_hand(name: str) -> None:
    real, fake = torch.tensor(REAL, dtype=torch.float64), torch.tensor(FAKE, dtype=torch.float64)
    d, g = BY_HAND[name]
    assert float(pair(name).d(real, fake)) == pytest.approx(d, abs=1e-12)
    assert float(pair(name).g(fake, real)) == pytest.approx(g, abs=1e-12)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_at_the_equilibrium(name: str, shape: tuple[int, ...]) -> None:
    zero = torch.zeros(shape, dtype=torch.float64)
    d, g = (value(shape[0]) if callable(value) else value for value in AT_ZERO[name])
    assert float(pair(name).d(zero, zero)) == pytest.approx(d, abs=1e-12)
    assert float(pair(name).g(zero, zero)) == pytest.approx(g, abs=1e-12)


def test_options_are_the_papers_constants() -> None:
    """Pearson's chi-square wants a = -1, b = 1, c = 0 (Mao et al. 2017, eq. 13); a hinge has a margin."""
    real, fake = torch.tensor([0.5]), torch.tensor([0.25])
    pearson = registry.adversarial.parts["least-squares"].fn(real_target=1.0, fake_target=-1.0, wanted=0.0)
    assert float(pearson.d(real, fake)) == pytest.approx(0.5 * 0.25 + 0.5 * 1.5625)
    assert float(pearson.g(fake, None)) == pytest.approx(0.5 * 0.0625)
    wide = registry.adversarial.parts["hinge"].fn(margin=2.0)
    assert float(wide.d(real, fake)) == pytest.approx(1.5 + 2.25)


@pytest.mark.parametrize(("real", "fake", "wanted"), [(1, 0, 1), (1, -1, 0), (0, 1, 0), (-1, 1, 0), (-2, 3, 2)])
def test_least_squares_has_an_order_where_its_targets_have(real: float, fake: float, wanted: float) -> None:
    """Logits between the targets: D moves reals and fakes apart, G moves fakes to the reals' side, up or down."""
    found = pair("least-squares", real_target=real, fake_target=fake, wanted=wanted)
    x, y = (torch.full((1,), 0.1 * real + 0.9 * fake).requires_grad_() for _ in range(2))
    up, down = torch.autograd.grad(found.d(x, y), (x, y))
    (raised,) = torch.autograd.grad(found.g(y, None), y)
    signs = [number(slope.sign()) for slope in (up, down, raised)]
    assert signs == ([-1, 1, -1] if found.ordered else [1, -1, 1])
    assert found.ordered == (real > fake)


@pytest.mark.parametrize(("real", "fake", "wanted"), [(1, 1, 2), (0, 1, 1), (1, 0, 0), (1, 0, -1), (0, 1, 2)])
def test_targets_that_tell_g_to_be_told_apart_are_refused(real: float, fake: float, wanted: float) -> None:
    with pytest.raises(
        InputError, match=rf"real_target={real} and wanted={wanted} must both.*fake_target={fake}.*; use"
    ):
        pair("least-squares", real_target=real, fake_target=fake, wanted=wanted)


@pytest.mark.parametrize("name", ["ada", "apa", "top-k", "latent-optimization"])
def test_tricks_that_rank_refuse_targets_that_are_turned_round(name: str) -> None:
    turned = pair("least-squares", real_target=0.0, fake_target=1.0, wanted=0.0)
    assert registry.trick.parts[name].fn().refuse(turned) is not None


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_finite_differences(name: str, shape: tuple[int, ...]) -> None:
    real, fake = logits(shape, 1), logits(shape, 2)
    assert torch.autograd.gradcheck(pair(name).d, (real, fake))
    assert torch.autograd.gradcheck(lambda f, r: pair(name).g(f, r), (fake, real.detach()))


@pytest.mark.parametrize("name", PAIRS)
def test_huge_logits_stay_finite(name: str) -> None:
    """No logarithm of a probability that has rounded to zero."""
    real, fake = torch.full((2,), -1e4, requires_grad=True), torch.full((2,), 1e4, requires_grad=True)
    for a, b in ((real, fake), (fake, real)):
        for loss in (pair(name).d(a, b), pair(name).g(a, b)):
            assert bool(torch.isfinite(loss))
            slopes = torch.autograd.grad(loss, (a, b), allow_unused=True)
            assert all(bool(torch.isfinite(s).all()) for s in slopes if s is not None)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_loss_is_a_scalar_of_its_logits_type(name: str, dtype: torch.dtype) -> None:
    x = torch.zeros(3, 2, dtype=dtype)
    for loss in (pair(name).d(x, x), pair(name).g(x, x)):
        assert loss.shape == ()
        assert loss.dtype == dtype


@pytest.mark.parametrize("name", [n for n in PAIRS if pair(n).paired])
def test_a_paired_loss_compares_equal_shapes(name: str) -> None:
    """Broadcasting [2] against [2, 1] would compare every real with every fake."""
    a, b = torch.zeros(2), torch.zeros(2, 1)
    with pytest.raises(ValueError, match=r"real logits \(2,\) and fake logits \(2, 1\)"):
        pair(name).d(a, b)
    with pytest.raises(ValueError, match=r"real logits \(2,\) and fake logits \(2, 1\)"):
        pair(name).g(b, a)
    with pytest.raises(ValueError, match="none were given"):
        pair(name).g(b, None)


def after(name: str, *batches: tuple[Tensor, Tensor]) -> list[Tensor]:
    """What a loss carries after some batches."""
    found = registry.adversarial.parts[name].fn()
    for buffer, value in CARRIED.get(name, {}).items():
        found.state.get_buffer(buffer).fill_(value)
    for real, fake in batches:
        found.d(real, fake)
    return [] if found.state is None else list(found.state.buffers())


@pytest.mark.parametrize("name", PAIRS)
def test_capabilities_are_what_the_functions_do(name: str) -> None:
    """`paired`: G's value depends on real. `couples_batch`: a row's slope, or what is carried, depends on the others."""
    real, fake = logits((6,), 1), logits((6,), 2)
    moved = pair(name).g(fake, real + 1)
    assert pair(name).paired == bool(moved != pair(name).g(fake, real))
    if not pair(name).paired:
        assert torch.equal(pair(name).g(fake, None), moved)
    part_real, part = (x[:3].detach().requires_grad_() for x in (real, fake))
    whole = [*torch.autograd.grad(pair(name).d(real, fake), (real, fake))]
    parts = [*torch.autograd.grad(pair(name).d(part_real, part), (part_real, part))]
    whole += torch.autograd.grad(pair(name).g(fake, real), fake)
    parts += torch.autograd.grad(pair(name).g(part, part_real), part)
    alone = all(torch.allclose(2 * a[:3], b) for a, b in zip(whole, parts, strict=True))
    halves = ((real[:3], fake[:3]), (real[3:], fake[3:]))
    alone &= all(torch.allclose(a, b) for a, b in zip(after(name, (real, fake)), after(name, *halves), strict=True))
    assert pair(name).couples_batch != alone


@pytest.mark.parametrize("name", [n for n in PAIRS if pair(n).as_real is not None])
def test_labels_cost_what_d_pays(name: str) -> None:
    """D's loss is the mean cost of reals called real plus that of fakes called fake."""
    real, fake = logits((3, 2), 1).detach(), logits((3, 2), 2).detach()
    found = pair(name)
    assert found.as_real(real).shape == real.shape
    paid = found.as_real(real).mean() + found.as_fake(fake).mean()
    assert float(paid - found.d(real, fake)) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("name", PAIRS)
def test_every_pair_plays_in_a_game(name: str) -> None:
    made = play("mlp", f"adversarial={name}", *(["D=autoencoder"] if pair(name).of_energies else [])).run(2)
    made.state.check_finite()


def test_every_pair_is_computed_by_hand_here() -> None:
    """A new pair must be given its values here."""
    assert set(BY_HAND) == set(AT_ZERO) == set(PAIRS)


def test_each_place_of_a_map_has_a_contrast_of_its_own() -> None:
    real, fake = logits((4, 3), 1).detach(), logits((4, 3), 2).detach()
    whole, found = pair("dual-contrastive").d(real, fake), pair("dual-contrastive")
    assert number(whole) == pytest.approx(sum(number(found.d(real[:, i], fake[:, i])) for i in range(3)) / 3)


# ---- divergences: D's optimum on two Gaussians --------------------------------------------------------------------

GRID = torch.linspace(-12, 12, 6001, dtype=torch.float64)
CASES = [(0.0, 1.0), (0.5, 1.2), (-1.0, 0.9)]  # q = N(mu, s); p = N(0, 1)


def integral(values: Tensor) -> float:
    return float(torch.trapezoid(values, GRID))


def log_density(mu: float, s: float) -> Tensor:
    return -0.5 * ((GRID - mu) / s).square() - math.log(s * math.sqrt(2 * math.pi))


def js(mu: float, s: float) -> float:
    """KL(p || m) + KL(q || m), m = (p + q) / 2: twice the usual Jensen-Shannon."""
    p, q = log_density(0, 1), log_density(mu, s)
    m = torch.logaddexp(p, q) - math.log(2)
    return integral(p.exp() * (p - m)) + integral(q.exp() * (q - m))


def kl_between(mu: float, s: float) -> float:
    return math.log(s) + (1 + mu**2) / (2 * s**2) - 0.5


def reverse(mu: float, s: float) -> float:
    return -math.log(s) + (s**2 + mu**2) / 2 - 0.5


def chi_square(mu: float, s: float) -> float:
    return s**2 / math.sqrt(2 * s**2 - 1) * math.exp(mu**2 / (2 * s**2 - 1)) - 1


def hellinger(mu: float, s: float) -> float:
    return 2 - 2 * math.sqrt(2 * s / (1 + s**2)) * math.exp(-(mu**2) / (4 * (1 + s**2)))


# name -> the optimal logit of log p/q, and the divergence in closed form
OPTIMA: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[float, float], float]]] = {
    "kl": (lambda r: 1 + r, kl_between),
    "reverse-kl": (lambda r: r, reverse),
    "pearson": (lambda r: 2 * torch.expm1(r), chi_square),
    "hellinger": (lambda r: r / 2, hellinger),
    "jensen-shannon": (lambda r: r, js),
    "minimax": (lambda r: r, lambda mu, s: js(mu, s) - math.log(4)),
    "non-saturating": (lambda r: r, lambda mu, s: js(mu, s) - math.log(4)),
    "logistic": (lambda r: r, lambda mu, s: js(mu, s) - math.log(4)),
}


def d_value(name: str, logit: Tensor, mu: float, s: float) -> float:
    """What D earns, -E_p as_real - E_q as_fake."""
    found = pair(name)
    on_real, on_fake = found.as_real(logit), found.as_fake(logit)
    return -integral(log_density(0, 1).exp() * on_real) - integral(log_density(mu, s).exp() * on_fake)


@pytest.mark.parametrize("name", OPTIMA)
@pytest.mark.parametrize(("mu", "s"), CASES)
def test_the_optimal_critic_earns_the_divergence_and_any_other_less(name: str, mu: float, s: float) -> None:
    optimum, divergence = OPTIMA[name]
    best = optimum(log_density(0, 1) - log_density(mu, s))
    assert d_value(name, best, mu, s) == pytest.approx(divergence(mu, s), abs=1e-6)
    for change, size in itertools.product((torch.ones_like(GRID), GRID.sin(), GRID.cos(), GRID.tanh()), (0.1, -0.1)):
        assert d_value(name, best + size * change, mu, s) < divergence(mu, s) - 1e-5


@pytest.mark.parametrize(("mu", "s"), CASES)
def test_what_g_minimises_against_the_optimal_critic(mu: float, s: float) -> None:
    """-E log p/q under q is KL(q || p); log 2 - E log 2p / (p + q), for -log D, is KL(q || p) less a Jensen-Shannon."""
    ratio, q = log_density(0, 1) - log_density(mu, s), log_density(mu, s).exp()
    assert integral(-q * ratio) == pytest.approx(reverse(mu, s), abs=1e-9)
    tip = pair("logistic").g(ratio[:1], None)
    assert float(tip) == pytest.approx(-float(ratio[0]))
    on_fake = torch.stack([pair("non-saturating").g(r, None) for r in ratio[::100]])
    assert torch.allclose(on_fake, torch.log1p(torch.exp(-ratio[::100])))


@pytest.mark.parametrize("name", ["kl", "reverse-kl", "pearson", "hellinger", "jensen-shannon"])
def test_saturating_is_zero_sum(name: str) -> None:
    """G minimises what D earns on fakes, -E f*(g(fake)); otherwise it maximises E g(fake)."""
    fake, real = logits((5,), 1), logits((5,), 2)
    zero_sum, other = pair(name, saturating=True), pair(name)
    assert number(zero_sum.g(fake, None)) == pytest.approx(-number(zero_sum.as_fake(fake).mean()))
    assert torch.equal(zero_sum.d(real, fake), other.d(real, fake))
    assert number(other.g(fake, None)) == pytest.approx(number(other.as_real(fake).mean()))


EXPONENTIAL = [("kl", "as_fake"), ("reverse-kl", "as_real"), ("hellinger", "as_real"), ("hellinger", "as_fake")]


@pytest.mark.parametrize(("name", "side"), EXPONENTIAL)
def test_exponentials_go_on_as_their_tangent(name: str, side: str) -> None:
    """Exact up to `linear_after`, under the exponential beyond, where the slope stays what it was."""
    near, far = (getattr(pair(name, linear_after=limit), side) for limit in (3.0, 50.0))
    sign = 1 if side == "as_fake" else -1
    x = (sign * torch.tensor([-9.0, 0, 1.9, 2.9, 4.5, 8, 16], dtype=torch.float64)).requires_grad_()
    assert torch.equal(near(x)[:4], far(x)[:4])
    assert bool((near(x)[4:] < far(x)[4:]).all())
    (slope,) = torch.autograd.grad(near(x).sum(), x)
    assert slope[4:].tolist() == pytest.approx([sign * math.exp(3)] * 3)
    edge = sign * torch.tensor([3 - 1e-7, 3, 3 + 1e-7], dtype=torch.float64) + (1 if name == "kl" else 0)
    assert near(edge).diff().tolist() == pytest.approx([math.exp(3) * 1e-7] * 2, rel=1e-5)


# ---- energies -----------------------------------------------------------------------------------------------------


def test_ebgan_stops_at_its_margin() -> None:
    """A fake whose energy passes the margin is pushed no further (Zhao, Mathieu and LeCun 2017, eq. 1)."""
    energy = torch.tensor([0.5, 1.9, 2.1, 7.0], requires_grad=True)
    loss = pair("ebgan", margin=2.0).d(-torch.ones(4), -energy)
    assert number(loss) == pytest.approx(1 + (1.5 + 0.1) / 4)
    (slope,) = torch.autograd.grad(loss, energy)
    assert slope.tolist() == [-0.25, -0.25, 0, 0]


def test_began_balances_by_its_law() -> None:
    """k += lambda (gamma e(x) - e(G(z))) in 0..1, after the loss has used the old one."""
    found = registry.adversarial.parts["began"].fn(gamma=0.5, rate=0.1)
    k = 0.0
    for real, fake in [(4.0, 1.0), (4.0, 0.5), (2.0, 9.0), (1.0, 0.2), (30.0, 1.0), (3.0, 0.0)]:
        on_fake = torch.tensor([-fake, -fake], requires_grad=True)
        loss = found.d(torch.tensor([-real, -real]), on_fake)
        assert number(loss) == pytest.approx(real - k * fake, abs=1e-6)
        (slope,) = torch.autograd.grad(loss, on_fake)  # of the k before it moved
        assert slope.tolist() == pytest.approx([k / 2] * 2)
        k = min(max(k + 0.1 * (0.5 * real - fake), 0.0), 1.0)
        assert number(found.state.k) == pytest.approx(k)
        found.g(on_fake, None)
        assert number(found.state.k) == pytest.approx(k)
    assert k == 1.0
    found.d(torch.tensor([math.nan]), torch.tensor([0.0]))
    assert number(found.state.k) == 1.0


@pytest.mark.parametrize("dynamics", ["alternating", "extragradient"])
def test_began_s_balance_moves_once_a_step_and_is_saved(dynamics: str) -> None:
    made = play("mlp", "D=autoencoder", "adversarial={use: began, gamma: 1.0, rate: 0.1}", f"dynamics={dynamics}")
    reports = made.step()
    energy = {side: -number(reports["D"].stats[side]) for side in ("real", "fake")}
    ((name, k),) = [(n, b) for n, b in made.state.state_dict()["game"].items() if n.endswith(".k")]
    assert number(k) == pytest.approx(max(0.1 * (energy["real"] - energy["fake"]), 0.0), abs=1e-7)
    assert number(k) > 0, name


@pytest.mark.parametrize("error", ["absolute", "squared"])
@pytest.mark.parametrize("shape", [(2,), (3, 5, 4)])
def test_an_autoencoder_s_logit_is_minus_its_error(error: str, shape: tuple[int, ...]) -> None:
    critic = registry.critic.parts["autoencoder"].fn(Spec(shape), hidden=(8,), code=3, error=error)
    x = torch.randn(6, *shape)
    said = critic(x)
    assert isinstance(said, Verdict)
    assert said.logits.shape == (6,)
    assert said.features[0].shape == (6, 3)
    gap = x.flatten(1) - critic.decode(critic.encode(x.flatten(1)))
    wanted = gap.abs().mean(1) if error == "absolute" else gap.square().mean(1)
    assert torch.allclose(said.logits, -wanted)


@pytest.mark.parametrize("name", ["ebgan", "began"])
def test_losses_of_energies_play_with_an_autoencoder(name: str) -> None:
    made = play("mlp", "D=autoencoder", f"adversarial={name}").run(3)
    made.state.check_finite()


class Minus(torch.nn.Module):
    """A critic whose logit is minus the squared distance from a point."""

    energy = True

    def __init__(self) -> None:
        super().__init__()
        self.at = torch.nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        return -(x - self.at).square().sum(1)


@pytest.mark.parametrize("name", [n for n in PAIRS if pair(n).of_energies])
def test_without_an_energy_there_is_no_least_loss_and_a_game_says_so(name: str) -> None:
    """The better a real is, the better for D, and only an energy cannot be better than 0: a critic has to say it is one."""
    fake = -torch.ones(4, dtype=torch.float64)
    best, beyond = (number(pair(name).d(torch.full_like(fake, logit), fake)) for logit in (0.0, 1e6))
    assert all(number(pair(name).d(-logits((4,), seed).square(), fake)) >= best for seed in range(9))
    assert beyond < best - 1e5
    for critic in ("mlp", "maxout"):
        with pytest.raises(InputError, match=r"energy, at least 0.*; use D=autoencoder .*energy = True"):
            play("mlp", f"D={critic}", f"adversarial={name}")
    G = registry.generator.parts["mlp"].fn(Spec((2,)), z=2, hidden=(4,))
    game = registry.game.parts["classic"].fn(Spec((2,)), G=G, D=Minus(), adversarial=name)
    play("mlp", game=game, data=Rows(POINTS)).run(2).state.check_finite()
    assert "needs D=autoencoder" in registry.adversarial.parts[name].doc


@pytest.mark.parametrize("name", sorted(registry.critic.parts))
def test_a_critic_that_says_so_has_an_energy(name: str) -> None:
    if getattr(registry.critic.parts[name].fn, "energy", False):
        critic = registry.critic.parts[name].fn(Spec((1, 8, 8)))
        assert bool((critic(3 * torch.randn(64, 1, 8, 8)).logits <= 0).all())
    else:
        assert name != "autoencoder"


# ---- kernels and transport ----------------------------------------------------------------------------------------


def mmd_by_hand(x: list[list[float]], y: list[list[float]], kernel: Callable[[float], float], unbiased: bool) -> float:
    def k(a: list[float], b: list[float]) -> float:
        return kernel(sum((i - j) ** 2 for i, j in zip(a, b)))

    def within(rows: list[list[float]]) -> float:
        pairs = [(i, j) for i in range(len(rows)) for j in range(len(rows)) if i != j or not unbiased]
        return sum(k(rows[i], rows[j]) for i, j in pairs) / len(pairs)

    return within(x) + within(y) - 2 * sum(k(a, b) for a in x for b in y) / (len(x) * len(y))


KERNELS = {
    "gaussian": lambda r: sum(math.exp(-r / (2 * s * s)) for s in (1, 2, 4, 8, 16)),
    "rational-quadratic": rational,
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("unbiased", [True, False])
def test_mmd_of_embeddings_is_the_sum_over_pairs(kernel: str, unbiased: bool) -> None:
    x, y = logits((5, 3), 1), logits((5, 3), 2)
    found = pair("mmd", kernel=kernel, unbiased=unbiased)
    wanted = mmd_by_hand(x.tolist(), y.tolist(), KERNELS[kernel], unbiased)
    assert number(found.g(y, x)) == pytest.approx(wanted, abs=1e-12)
    assert number(found.d(x, y)) == pytest.approx(-wanted, abs=1e-12)
    assert number(found.g(y.view(5, 1, 3), x.view(5, 1, 3))) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_mmd_of_a_sample_and_itself_is_zero(kernel: str) -> None:
    x, y = logits((6, 2), 1), logits((6, 2), 2)
    found = pair("mmd", kernel=kernel, unbiased=False)
    assert number(found.g(x, x[torch.tensor([3, 1, 0, 5, 4, 2])])) == pytest.approx(0, abs=1e-12)
    assert number(found.g(x, y)) > 1e-3
    far = pair("mmd", kernel=kernel, unbiased=False).g(x + 1e5, x - 1e5)
    alone = number(found.g(x, x + 1e9)) / 2
    assert number(far) == pytest.approx(2 * alone, rel=0.2)  # two far clusters: nothing in common


def test_unbiased_mmd_is_the_population_s_on_average() -> None:
    """E k = sigma / sqrt(sigma^2 + s^2 + t^2) exp(-(m - n)^2 / 2(sigma^2 + s^2 + t^2)) of N(m, s^2) and N(n, t^2)."""

    def mean_k(gap: float, spread: float) -> float:
        return math.exp(-(gap**2) / (2 * (1 + spread))) / math.sqrt(1 + spread)

    wanted = mean_k(0, 2) + mean_k(0, 2 * 0.25) - 2 * mean_k(1, 1 + 0.25)
    draw = torch.Generator().manual_seed(0)
    found = pair("mmd", kernel="gaussian", scales=(1.0,))
    got = [
        number(found.g(1 + 0.5 * torch.randn(8, generator=draw), torch.randn(8, generator=draw))) for _ in range(600)
    ]
    mean, spread = sum(got) / len(got), number(torch.tensor(got).std()) / math.sqrt(len(got))
    assert abs(mean - wanted) < 4 * spread < 0.05


def test_mmd_needs_pairs() -> None:
    with pytest.raises(InputError, match="compares pairs of rows"):
        pair("mmd").d(torch.zeros(1), torch.zeros(1))
    assert number(pair("mmd", unbiased=False).d(torch.zeros(1), torch.zeros(1))) == 0


def test_on_a_line_the_sliced_distance_is_the_best_matching() -> None:
    """The 2-Wasserstein distance of 1-D samples, squared, by trying every permutation."""
    x, y = logits((6,), 1), logits((6,), 2)
    best = min(number((x[list(order)] - y).square().mean()) for order in itertools.permutations(range(6)))
    assert number(pair("sliced-wasserstein").g(y, x)) == pytest.approx(best)
    assert number(pair("sliced-wasserstein").g(y.view(6, 1), x.view(6, 1))) == pytest.approx(best)


def test_sliced_wasserstein_of_a_shift() -> None:
    """A shift by t costs E (w . t)^2 = |t|^2 / d over directions, exactly |w . t|^2 in each."""
    x = logits((20, 3), 1).detach()
    t = torch.tensor([1.0, -2.0, 2.0], dtype=torch.float64)
    assert number(pair("sliced-wasserstein", projections=20_000).g(x + t, x)) == pytest.approx(9 / 3, rel=0.03)
    torch.manual_seed(0)
    w = torch.nn.functional.normalize(torch.randn(3, 4, dtype=torch.float64), dim=0)
    few = pair("sliced-wasserstein", projections=4)
    assert number(few.g(x + t, x)) == pytest.approx(number((t @ w).square().mean()))
    assert number(few.g(x[torch.randperm(20)], x)) == 0


def test_the_engine_draws_the_same_directions_again() -> None:
    """Projections are drawn from the generator that the engine seeds by address."""

    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = torch.nn.Linear(64, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x.flatten(1))

    def run() -> list[Tensor]:
        torch.manual_seed(0)
        D = Two()
        spec = Spec((1, 8, 8))
        G = registry.generator.parts["mlp"].fn(spec, z=4, hidden=(8,))
        game = registry.game.parts["classic"].fn(spec, G=G, D=D, adversarial="sliced-wasserstein")
        made = play("mlp", game=game)
        torch.manual_seed(torch.seed())
        return made.run(2).weights()

    assert all(torch.equal(a, b) for a, b in zip(run(), run()))
