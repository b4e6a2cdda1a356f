"""Gradient penalties between reals and fakes and around reals: where they look, and what they let be."""

from __future__ import annotations

import pytest
import torch
from penalty_cases import FAKE, REAL, Linear, Quadratic, W, around, between, drawn, made, value
from torch import Tensor, nn

from gantlet.core.when import Now
from helpers import number


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
