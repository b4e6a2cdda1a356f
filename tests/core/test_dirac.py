"""The Dirac-GAN: every method's step has the spectral radius at the equilibrium that theory gives it.

The numbers are those of the papers' formulas at h = 0.1 (Mescheder, Geiger and Nowozin 2018; for other methods their own
papers), the game is the package's: `Classic`, its engine, dynamics, optimisers, penalties and tricks (bench/dirac*.py).
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from gantlet.core import registry
from gantlet.core.state import Average, State
from gantlet.core.train import train
from gantlet.core.when import always
from helpers import number

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

import dirac
from dirac_game import Case, Point, begin, radii, spectral_radius, trajectory

# five digits, by hand; 1.0 is exact: a product of shears with a small trace
RADII = {
    "non-saturating, simultaneous": 1.00125,
    "non-saturating, alternating": 1.0,
    "minimax, simultaneous": 1.00125,
    "minimax, alternating": 1.0,
    "relativistic, simultaneous": 1.00125,
    "relativistic, alternating": 1.0,
    "wasserstein, simultaneous": 1.00499,
    "wasserstein, alternating": 1.0,
    "hinge, simultaneous": 1.00499,
    "hinge, alternating": 1.0,
    "least-squares ±1, simultaneous": 1.00499,
    "least-squares ±1, alternating": 1.0,
    "R1 0.3, simultaneous": 0.98615,
    "R1 0.3, alternating": 0.98489,
    "R1 1, simultaneous": 0.95,  # critical: g = 2 w
    "R1 1, alternating": 0.96,
    "R1 10, simultaneous": 0.99749,
    "R1 10, alternating": 0.9975,
    "R1 25, simultaneous": 1.499,  # h g > 2: period 2
    "R1 25, alternating": 1.5015,
    "R2 1, simultaneous": 0.95,
    "R2 1, alternating": 0.96,
    "R1 + R2 1, simultaneous": 0.9866,
    "R1 + R2 1, alternating": 0.98679,
    "relativistic, R1 + R2 1, simultaneous": 0.9866,
    "relativistic, R1 + R2 1, alternating": 0.98679,
    "gp-zero 0.5, simultaneous": 0.95,
    "gp-zero 0.5, alternating": 0.96,
    "logit-l2 1, data at 0": 1.00125,  # D(0) = 0 whatever psi is: no damping
    "logit-l2 1, data at 1": 0.9866,
    "lecam 1, data at 0": 1.00125,
    "lecam 1, data at 1": 0.99813,
    "instance noise 0.7, simultaneous": 0.98894,
    "instance noise √2, simultaneous": 0.95,
    "consensus 1": 0.97628,
    "symplectic 1": 0.97628,
    "unrolled 1": 0.99875,
    "unrolled 5": 0.98869,
    "unrolled 10": 0.97596,
    "lr of D times 4, simultaneous": 1.00499,
    "lr of D times 4, alternating": 1.0,
    "5 steps of D": 1.0,
    "5 steps of D, R1 0.3": 0.92668,
    "extragradient, h = 0.1": 0.99875,
    "extragradient, h = 1": 0.90139,
    "extragradient, h = 2.2": 1.11987,
    "optimistic, h = 0.1": 0.99875,
    "optimistic, h = 1": 0.70711,
    "optimistic, h = 1.3": 1.17683,
    "from-the-past, h = 0.1": 0.99875,
    "from-the-past, h = 1": 0.70711,
    "from-the-past, h = 1.3": 1.17683,
    "momentum -0.5, simultaneous": 1.00019,
    "momentum -0.5, alternating": 0.99963,
    "momentum 0.5, simultaneous": 1.01375,
    "momentum 0.5, alternating": 1.00937,
    "momentum 0.9, simultaneous": 1.1211,
    "momentum 0.9, alternating": 1.11792,
    "lookahead 5, simultaneous": 0.99532,
    "lookahead 5, alternating": 0.9922,
    "lookahead 100, alternating": 0.8013,
}


@pytest.mark.parametrize("case", dirac.FORMULAS, ids=lambda case: case.name)
def test_the_spectral_radius_is_what_theory_says(case: Case) -> None:
    measured = spectral_radius(case)
    assert measured == pytest.approx(RADII[case.name], abs=6e-6)
    assert measured == pytest.approx(case.rho, abs=1e-6), "the formula the table prints"


def test_every_number_has_its_case() -> None:
    assert set(RADII) == {case.name for case in dirac.FORMULAS}
    played = {c.dynamics if isinstance(c.dynamics, str) else c.dynamics["use"] for c in dirac.FORMULAS}
    assert played == set(registry.dynamics.parts), "a new dynamics wants its spectral radius here"


def test_the_verdict_is_that_of_the_trajectory() -> None:
    """Near the equilibrium a radius under 1 shrinks a perturbation at that rate, one over 1 blows it up."""
    for name in ("R1 0.3, simultaneous", "optimistic, h = 0.1", "extragradient, h = 2.2"):
        case = next(c for c in dirac.FORMULAS if c.name == name)
        distance = radii(case, 60, (1e-6, 1e-6))
        assert number(distance[-1] / distance[20]) ** (1 / 40) == pytest.approx(RADII[name], rel=0.02)


@pytest.mark.parametrize("turns", ["simultaneous", "alternating"])
def test_clipped_weights_keep_circling(turns: str) -> None:
    """No point to rest on: psi is thrown from one bound to the other."""
    path = trajectory(dirac.clipped(turns), 250)[50:]
    assert number(path.norm(dim=1).min()) > 0.9
    assert number(path[:, 1].abs().max()) == 1.0
    assert number(path[:, 0].min()) < -0.5 < 0.5 < number(path[:, 0].max())


@pytest.mark.parametrize(("target", "least", "most"), [(0.3, 0.39, 0.48), (1.0, 1.35, 1.62)])
def test_a_gradient_penalty_around_one_never_arrives(target: float, least: float, most: float) -> None:
    """The field has a jump at 0: |psi| is drawn to the target from either side."""
    distance = radii(dirac.centred(target), 350)[-150:]
    assert least < number(distance.mean()) < most
    assert number(distance.min()) > least / 1.3


def test_strong_consensus_can_leave_for_where_the_gradient_is_small() -> None:
    """1/2 |v|^2 has a valley that leads away; with weight 1 the same start converges."""
    far = radii(dirac.FAR, 120, (1.0, -1.0))
    near = radii(Case("", dynamics="consensus", game=dirac.FAR.game), 300, (1.0, -1.0))
    assert number(far[-1]) > 2.5 and number(far[-1]) - number(far[-20]) < 0.1
    assert number(near[-1]) < 0.01


def test_adam_bursts_where_gradients_vanish_and_amsgrad_does_not() -> None:
    """Its step is lr whatever the gradient's size: once v has forgotten, it grows again (a late burst, made short)."""
    plain, bounded = (radii(dirac.adam(beta2=0.9, **o), 260, (0.01, 0.01)) for o in ({}, {"amsgrad": True}))
    assert number(plain.min()) < 1e-3
    assert number(plain[int(plain.argmin()) :].max()) > 0.01
    assert number(bounded[-100:].max()) < 1e-6


def test_the_average_of_an_orbit_is_its_middle() -> None:
    """EMA of a rotation by w: the amplitude is (1 - b) / |1 - b e^-iw| of the live one; the dynamics does not change."""
    case = next(c for c in dirac.FORMULAS if c.name == "non-saturating, alternating")
    b, turn = 0.95, 2 * torch.asin(torch.tensor(dirac.H * dirac.W / 2, dtype=torch.float64))
    state, engine = begin(case, 1e-3, 1e-3)
    half_life = case.batch * torch.log(torch.tensor(0.5)) / torch.log(torch.tensor(b))
    state.averages["ema"] = mean = Average(state.game, half_life_images=number(half_life), ramp_up=None)
    seen: list[tuple[float, float]] = []

    def look(state: State, reports: object) -> None:
        seen.append((number(state.players["G"].weights[0]), number(mean.game.G.theta)))

    train(state, engine, Point(), 280, [(always, look)])
    live, averaged = (max(abs(row[i]) for row in seen[-150:]) for i in (0, 1))
    wanted = (1 - b) / torch.abs(1 - b * torch.exp(-1j * turn))
    assert averaged / live == pytest.approx(number(wanted), rel=0.02)
    bare = trajectory(case, 280, (1e-3, 1e-3))[-1, 0]
    assert seen[-1][0] == number(bare)


def test_the_noise_of_the_package_damps_in_the_mean() -> None:
    """The real trick, on so many rows that the mean of its squares is s^2 within half a per cent."""
    game = {"tricks": {"instance-noise": {"sigma": 0.7}}}
    case = Case("", game=game, batch=100_000)
    assert spectral_radius(case) == pytest.approx(RADII["instance noise 0.7, simultaneous"], abs=5e-4)


def test_the_residue_of_a_penalty_that_is_too_strong_has_period_two() -> None:
    """h g > 2: psi changes its sign every step."""
    case = next(c for c in dirac.FORMULAS if c.name == "R1 25, simultaneous")
    psi = trajectory(case, 12, (1e-6, 1e-6))[4:, 1]
    assert bool((psi[1:] * psi[:-1] < 0).all())
