"""Time and schedules: pure functions of the step."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.recipe import recipe
from gantlet.core.schedules import constant, cosine, drop, exponential, linear
from gantlet.core.when import Now, always, at, before, every, since
from helpers import play


def test_at_is_the_number_itself_or_the_schedules_value() -> None:
    assert at(0.25, Now(step=7)) == 0.25
    assert at(lambda now: now.step / 2, Now(step=7)) == 3.5
    assert isinstance(at(lambda now: now.step, Now(step=7)), float)


def test_conditions_hold_at_exactly_their_steps() -> None:
    def steps(when) -> list[int]:
        return [s for s in range(12) if when(Now(step=s))]

    assert steps(always) == list(range(12))
    assert steps(every(4)) == [0, 4, 8]
    assert steps(every(4, offset=3)) == [3, 7, 11]
    assert steps(every(4, offset=7)) == [3, 7, 11]
    assert steps(before(3)) == [0, 1, 2]
    assert steps(since(9)) == [9, 10, 11]


@pytest.mark.parametrize("interval", [0, -1])
def test_an_interval_under_one_is_refused_by_its_value(interval: int) -> None:
    with pytest.raises(ValueError, match=rf"every\({interval}\)"):
        every(interval)


def test_exponential_falls_by_the_same_factor_every_step() -> None:
    values = [exponential(Now(step=step), start=1.0, end=1e-3, after=10, steps=40) for step in range(45)]
    assert values[:11] == [1.0] * 11
    assert values[40:] == pytest.approx([1e-3] * 5)
    assert [b / a for a, b in itertools.pairwise(values[10:41])] == pytest.approx([10 ** (-3 / 30)] * 30)


@pytest.mark.parametrize("schedule", [exponential, cosine, linear])
def test_a_schedule_may_begin_after_a_share_of_the_steps(schedule: Any) -> None:
    """Whoever trains longer or shorter then holds for as large a part."""
    for steps in (10, 25, 1_000):
        shared = [schedule(Now(step=step), start=1.0, end=0.1, after=0.4, steps=steps) for step in range(steps + 2)]
        counted = [
            schedule(Now(step=step), start=1.0, end=0.1, after=2 * steps // 5, steps=steps) for step in range(steps + 2)
        ]
        assert shared == counted and shared[2 * steps // 5] == 1 and shared[steps] == pytest.approx(0.1)


@pytest.mark.parametrize("after", [-1, -0.1, 1.0, 1.5])
def test_a_schedule_begins_at_a_step_or_after_a_share(after: float) -> None:
    with pytest.raises(InputError, match="after"):
        recipe("mlp").override(f"players.G.lr={{use: exponential, start: 1e-3, after: {after}}}")


def test_cosine_is_half_a_cosine() -> None:
    for step, want in [
        (0, 2.0),
        (10, 2.0),
        (35, 1.25 + 0.75 * math.cos(math.pi / 4)),
        (60, 1.25),
        (110, 0.5),
        (500, 0.5),
    ]:
        assert cosine(Now(step=step), start=2.0, end=0.5, after=10, steps=110) == pytest.approx(want, abs=1e-12)


def test_linear_is_a_line_and_then_flat() -> None:
    for step, want in [(0, 2.0), (10, 2.0), (35, 1.625), (60, 1.25), (110, 0.5), (500, 0.5)]:
        assert linear(Now(step=step), start=2.0, end=0.5, after=10, steps=110) == pytest.approx(want, abs=1e-12)


def test_drop_counts_whole_periods() -> None:
    assert [drop(Now(step=s), start=8.0, factor=0.5, every=10) for s in (0, 9, 10, 19, 20, 35)] == [8, 8, 4, 4, 2, 1]
    assert constant(Now(step=99), value=3.0) == 3.0


@pytest.mark.parametrize("name", [n for n, p in registry.schedule.parts.items() if "steps" in p.options])
def test_steps_null_ends_with_the_run(name: str) -> None:
    """A schedule that says `steps: null` reaches its end at the last step of the training, not before."""
    tree, faults = registry.check("schedule", {"use": name, "start": 3.0, "end": 1.0})
    bound = registry.bind("schedule", tree, total=40)
    assert not faults
    assert bound(Now(step=40)) == 1.0
    assert bound(Now(step=39)) > 1.0
    assert bound(Now(step=0)) == 3.0
    with pytest.raises(ValueError, match="steps"):
        registry.schedule.parts[name].fn(Now(step=1), start=3.0)


def test_the_learning_rate_follows_its_schedule() -> None:
    made = play("mlp", "players.D={use: sgd, lr: {use: linear, start: 0.5}}", "steps=4")
    seen = []
    for _ in range(4):
        made.step()
        seen.append(made.state.players["D"].opt.param_groups[0]["lr"])
    assert seen == pytest.approx([0.5, 0.375, 0.25, 0.125])
