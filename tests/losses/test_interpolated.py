"""Gradient penalties between reals and fakes and around reals: where they look, and what they let be."""

from __future__ import annotations

import pytest
import torch
from penalty_cases import FAKE, REAL, Linear, Quadratic, W, around, between, drawn, made, value
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.when import Now
from gantlet.losses.penalties import lengths
from helpers import POINTS, Rows, number, play


def test_the_target_of_gp() -> None:
    assert number(value(made("gp", weight=2.0, target=0.0), Linear())) == pytest.approx(2 * float(W.square().sum()))
    assert number(value(made("gp", weight=2.0, target=0.0), Quadratic())) == pytest.approx(
        number(value(made("gp-zero", weight=2.0), Quadratic()))
    )


@pytest.mark.parametrize("steep", [0.2, 0.999, 1.0, 1.5])
def test_one_sided_lets_gentle_slopes_be(steep: float) -> None:
    """max(0, |w| - 1)^2, where the two-sided one says (|w| - 1)^2."""
    critic = Linear(steep * W / W.norm())
    assert number(value(made("gp-one-sided", weight=1.0), critic)) == pytest.approx(max(0, steep - 1) ** 2, abs=1e-14)
    assert number(value(made("gp", weight=1.0), critic)) == pytest.approx((steep - 1) ** 2, abs=1e-14)
    assert number(value(made("gp-one-sided", weight=1.0, target=0.1), critic)) == pytest.approx((steep - 0.1) ** 2)


def asked_of(critic: nn.Module) -> list[Tensor]:
    asked: list[Tensor] = []
    critic.register_forward_pre_hook(lambda m, args: asked.append(args[0].detach()))
    return asked


@pytest.mark.parametrize("name", ["gp", "gp-one-sided", "gp-zero"])
def test_they_look_between_the_row_of_real_and_that_of_fake(name: str) -> None:
    """x^ = eps x + (1 - eps) G(z), one eps a row, keyed by its place in the joint batch."""
    critic = Linear()
    asked = asked_of(critic)
    now = Now(step=5, seed=3, first=7)
    value(made(name), critic, now=now)
    assert torch.allclose(asked[-1], between(now))
    share = (asked[-1] - FAKE) / (REAL - FAKE)
    known = (REAL - FAKE).abs() > 1e-9
    assert all(float(row[k].std()) < 1e-9 for row, k in zip(share, known))
    value(made(name), critic, now=now._replace(first=9), real=REAL[2:], fake=FAKE[2:])
    assert torch.equal(asked[-1], between(now)[2:])
    value(made(name), critic, now=now._replace(step=6))
    assert not torch.allclose(asked[-1], between(now))


def test_dragan_looks_around_reals() -> None:
    """x + size std delta; fakes do not matter, and the deviation is that of the batch."""
    critic = Linear()
    asked = asked_of(critic)
    value(made("dragan"), critic)
    assert torch.allclose(asked[-1], around())
    value(made("dragan"), critic, fake=FAKE + 1)
    assert torch.allclose(asked[-1], around())
    value(made("dragan", size=1.0), critic, real=3 * REAL + 1)
    assert torch.allclose(asked[-1], 3 * REAL + 1 + 3 * (REAL.std(correction=0) * drawn("dragan")))


# ---- where a slope is nothing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dynamics", ["consensus", "symplectic", "unrolled"])
@pytest.mark.parametrize(
    ("name", "flat"), [("gp", "D"), ("gp-one-sided", "D"), ("gp-zero", "D"), ("dragan", "D"), ("path-length", "G")]
)
def test_a_slope_of_nothing_has_a_second_derivative(name: str, flat: str, dynamics: str) -> None:
    """A player whose weights are 0 has slopes of exactly 0: a norm has no second derivative there, and none is asked."""
    made_ = play("mlp", f"penalties.{name}.every=1", f"dynamics={dynamics}", data=Rows(POINTS))
    with torch.no_grad():
        for w in made_.state.players[flat].weights:
            w.zero_()
    made_.step()
    made_.state.check_finite()
    assert all(bool(torch.isfinite(w).all()) for w in made_.weights())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_length_is_torch_s_norm_wherever_it_has_derivatives(dtype: torch.dtype) -> None:
    """To the bit, value and slope, down to where a square underflows; a row of less says nothing in any order."""
    smallest = torch.finfo(dtype).tiny ** 0.5
    rows = torch.randn(6, 3, dtype=dtype) * torch.tensor([1e3, 1, 1e-6, 2 * smallest, 0, smallest / 9]).view(-1, 1).to(
        dtype
    )
    rows[3] = rows[3].sign() * 2 * smallest
    found, wanted = rows.clone().requires_grad_(), rows.clone().requires_grad_()
    said, norm = lengths(found), wanted.norm(dim=1)
    assert torch.equal(said[:4], norm[:4])
    assert said[4:].tolist() == [0, 0]
    (first,) = torch.autograd.grad((said - 1).square().sum(), found, create_graph=True)
    (torchs,) = torch.autograd.grad((norm - 1).square().sum(), wanted)
    assert torch.equal(first[:4], torchs[:4])
    (second,) = torch.autograd.grad(first.sum(), found)
    assert bool(torch.isfinite(second).all())
    assert bool((first[4:] == 0).all()) and bool((second[4:] == 0).all())
    assert torch.autograd.gradgradcheck(lambda x: lengths(x).sum(), torch.randn(4, 3).double().requires_grad_())


@pytest.mark.parametrize("name", ["gp", "gp-one-sided", "dragan"])
def test_a_slope_is_not_wanted_negative(name: str) -> None:
    assert [f.partition(":")[0] for f in registry.check("penalty", {"use": name, "target": -1.0})[1]] == ["target"]
    assert registry.check("penalty", {"use": name, "target": 0.0})[1] == []
