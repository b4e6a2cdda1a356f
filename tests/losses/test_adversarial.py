"""Adversarial losses: directions, hand-computed values, gradients, equilibria."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gantlet.core import registry
from gantlet.core.critics import Adversarial
from helpers import play

PAIRS = sorted(registry.adversarial.parts)
SHAPES = [(7,), (3, 2), (2, 1, 3, 2)]  # a scalar, a sequence, a patch map


def pair(name: str) -> Adversarial:
    found = registry.adversarial.parts[name].fn()
    assert isinstance(found, Adversarial)
    return found


def logits(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("name", PAIRS)
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


@pytest.mark.parametrize("name", PAIRS)
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
    if name != "least-squares":  # it pulls back what went past its target
        assert bool((up <= 0).all())
        assert bool((down >= 0).all())


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


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
}
AT_ZERO = {  # D's and G's loss where real and fake cannot be told apart
    "minimax": (2 * math.log(2), -math.log(2)),
    "non-saturating": (2 * math.log(2), math.log(2)),
    "wasserstein": (0.0, 0.0),
    "least-squares": (0.5, 0.5),
    "hinge": (2.0, 0.0),
    "relativistic": (math.log(2), math.log(2)),
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
    d, g = AT_ZERO[name]
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


@pytest.mark.parametrize("name", PAIRS)
def test_capabilities_are_what_the_functions_do(name: str) -> None:
    """`paired`: G's value depends on real. `couples_batch`: a row's slope depends on the other rows."""
    real, fake = logits((6,), 1), logits((6,), 2)
    moved = pair(name).g(fake, real + 1)
    assert pair(name).paired == bool(moved != pair(name).g(fake, real))
    if not pair(name).paired:
        assert torch.equal(pair(name).g(fake, None), moved)
    whole, part = fake, fake[:3].detach().requires_grad_()
    (a,) = torch.autograd.grad(pair(name).g(whole, real), whole)
    (b,) = torch.autograd.grad(pair(name).g(part, real[:3]), part)
    assert pair(name).couples_batch != torch.allclose(2 * a[:3], b)


@pytest.mark.parametrize("name", PAIRS)
def test_every_pair_plays_in_a_game(name: str) -> None:
    made = play("mlp", f"adversarial={name}").run(2)
    made.state.check_finite()


def test_every_pair_is_computed_by_hand_here() -> None:
    """A new pair must be given its values here."""
    assert set(BY_HAND) == set(AT_ZERO) == set(PAIRS)
