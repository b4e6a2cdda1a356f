"""Noise is a function of its address."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gantlet.core.noise import key_of, normal, normal_of, uniform

KINDS = [uniform, normal]


@pytest.mark.parametrize("draw", KINDS)
@settings(max_examples=40, deadline=None)
@given(
    shape=st.sampled_from([(), (1,), (5,), (3, 2, 2)]),
    first=st.integers(0, 2**40),
    n=st.integers(1, 40),
    skip=st.integers(0, 39),
)
def test_a_row_depends_on_its_number_alone(draw, shape, first: int, n: int, skip: int) -> None:
    """Row i is bit-identical whatever batch it is asked for in."""
    skip = min(skip, n - 1)
    whole = draw(shape, n, key=(3, "z"), first=first)
    part = draw(shape, n - skip, key=(3, "z"), first=first + skip)
    assert whole.shape == (n, *shape)
    assert whole.dtype == torch.float32
    assert torch.equal(whole[skip:], part)


@pytest.mark.parametrize("draw", KINDS)
def test_every_part_of_the_key_matters(draw) -> None:
    keys = [
        (0,),
        (1,),
        (0, 0),
        (0, "z"),
        (0, 1, "z"),
        (1, 0, "z"),
        ("0",),
        (0, 0, "z"),
        (0, 0, "y"),
        ("0z",),
        ("0", "z"),
    ]
    drawn = [draw((4,), 3, key=k) for k in keys]
    for i, a in enumerate(drawn):
        for b in drawn[:i]:
            assert not torch.isclose(a, b).all()
            assert not (a == b).any()


def test_keys_tell_numbers_from_text_and_fit_a_seed() -> None:
    assert key_of(1) != key_of("1")
    assert key_of("a", "b") != key_of("ab")
    assert 0 <= key_of("x") < 2**63
    torch.manual_seed(key_of("x"))


def test_neighbouring_rows_columns_and_keys_are_unrelated() -> None:
    """Correlations of 4 x 10^4 pairs stay within five standard errors."""
    x = normal((4,), 40_000, key=(0, "z"))
    y = normal((4,), 40_000, key=(1, "z"))
    pairs = [(x[1:, 0], x[:-1, 0]), (x[:, 0], x[:, 1]), (x[:, 0], x[:, 2]), (x[:, 1], x[:, 3]), (x[:, 0], y[:, 0])]
    for a, b in pairs:
        assert abs(float(torch.corrcoef(torch.stack([a, b]))[0, 1])) < 5 / 200
        assert abs(float(torch.corrcoef(torch.stack([a**2, b**2]))[0, 1])) < 5 / 200


def test_moments() -> None:
    """Mean, variance, skewness and kurtosis of 2 x 10^5 normals; mean and variance of as many uniforms."""
    z = normal((5,), 40_000, key=(0, "z")).double().flatten()
    for power, want, spread in [(1, 0, 1), (2, 1, 2**0.5), (3, 0, 15**0.5), (4, 3, 96**0.5)]:
        assert abs(float((z**power).mean()) - want) < 5 * spread / len(z) ** 0.5
    u = uniform((5,), 40_000, key=(0, "u")).double().flatten()
    assert abs(float(u.mean()) - 0.5) < 5 * (1 / 12) ** 0.5 / len(u) ** 0.5
    assert abs(float(u.var()) - 1 / 12) < 0.001
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    counts = torch.histc(u, 16, 0, 1)
    assert float(((counts - len(u) / 16) ** 2 / (len(u) / 16)).sum()) < 45  # chi-square, 15 degrees: p = 1e-4 at 44


def test_uniform_never_rounds_up_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest 53 bits would round to 1.0 in float32."""
    monkeypatch.setattr("gantlet.core.noise._bits", lambda *a: torch.full((2, 1), -1, dtype=torch.int64))
    assert float(uniform((1,), 2, key=(0,)).max()) == 1 - 2.0**-24


def test_normals_stay_finite_at_the_ends_of_the_uniforms(monkeypatch: pytest.MonkeyPatch) -> None:
    for bits in (0, -1):
        monkeypatch.setattr("gantlet.core.noise._bits", lambda *a, b=bits: torch.full((2, 2), b, dtype=torch.int64))
        assert torch.isfinite(normal((1,), 2, key=(0,))).all()


def test_the_caller_s_generator_is_not_touched_and_not_looked_at() -> None:
    before = torch.random.get_rng_state()
    a = normal((3,), 4, key=(0,))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(normal((3,), 4, key=(0,)), a)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_every_device_draws_the_same() -> None:
    there = torch.device("cuda")
    assert torch.equal(uniform((7,), 9, key=(0,)), uniform((7,), 9, key=(0,), device=there).cpu())
    assert torch.allclose(normal((7,), 9, key=(0,)), normal((7,), 9, key=(0,), device=there).cpu(), atol=1e-6)


def test_noise_that_follows_a_latent_depends_on_its_row_alone() -> None:
    z = normal((5,), 40, key=(0, "z"))
    drawn = normal_of(z, (3, 2), key=("layer", 0))
    assert drawn.shape == (40, 3, 2)
    assert torch.equal(torch.cat([normal_of(part, (3, 2), key=("layer", 0)) for part in z.split([1, 7, 32])]), drawn)
    assert torch.equal(normal_of(z.double(), (3, 2), key=("layer", 0)), drawn)
    others = [normal_of(z, (3, 2), key=("layer", 1)), normal_of(z + 1e-6, (3, 2), key=("layer", 0))]
    others.append(normal_of(z.flip(1), (3, 2), key=("layer", 0)))
    assert not any(torch.isclose(other, drawn).any() for other in others)
    many = normal_of(normal((2,), 4000, key=(1, "z")), (64,), key=("layer", 0))
    assert abs(float(many.mean())) < 0.01
    assert float(many.std()) == pytest.approx(1, abs=0.01)
    assert float((many[:-1] * many[1:]).mean()) == pytest.approx(0, abs=0.01)
    assert float((many[:, :-1] * many[:, 1:]).mean()) == pytest.approx(0, abs=0.01)
