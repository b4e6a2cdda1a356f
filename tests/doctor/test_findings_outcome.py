"""Findings of what came of a training and of learning by heart; and that every remedy is one its recipe takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ring_games import BARE, of_windows, watched, with_tree

from gantlet.core.recipe import recipe
from gantlet.doctor import About, Remedy, Seen, Sign, remedies
from gantlet.doctor.finding import DETECTORS
from helpers import GAMES, OTHER_PLAYERS

EDGES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("overfit", {"probe.rv": 0.39}, {"probe.rv": 0.41}),
    ("overfit", {"probe.held_auc": 0.74}, {"probe.held_auc": 0.76}),
    ("overfit", {"probe.train_fake_gap": [0.2] + [0.39] * 7}, {"probe.train_fake_gap": [0.2] + [0.41] * 7}),
    # while reals and fakes come together in its eyes no harm is done
    ("overfit", {"probe.train_fake_gap": [0.9, 0.6] + [0.89] * 6}, {"probe.train_fake_gap": [0.9, 0.6] + [0.91] * 6}),
    ("overfit", {"probe.rv": [0.9, 0.1] * 4}, {"probe.rv": [0.9, 0.6] * 4}),
    ("memorised", {"probe.memorised": 0.74}, {"probe.memorised": 0.76}),
    ("collapse", {"D.diversity": 0.81}, {"D.diversity": 0.79}),
    (
        "collapse",  # on its way: more kinds in each window
        {"D.diversity": [0.1, 0.18, 0.26, 0.34, 0.42, 0.5, 0.58, 0.66]},
        {"D.diversity": [0.9, 0.9, 0.8, 0.7, 0.5, 0.4, 0.3, 0.3]},
    ),
    ("diverged", {"D.diversity": 2.9}, {"D.diversity": 3.1}),
    ("diverged", {"D.centre": 9.9}, {"D.centre": 10.1}),
    # what was never covered was not dropped; of 0.9 less than 0.54 is left
    ("dropped-modes", {"probe.coverage": 0.1}, {"probe.coverage": [0.9] * 2 + [0.1] * 6}),
    ("dropped-modes", {"probe.coverage": [0.3, 0.9] + [0.55] * 6}, {"probe.coverage": [0.3, 0.9] + [0.53] * 6}),
    ("dropped-modes", {"probe.coverage": [0.9, 0.1] * 4}, {"probe.coverage": [0.9, 0.1, 0.1, 0.9] * 2}),
    ("checkerboard", {"probe.checkerboard": 2.9}, {"probe.checkerboard": 3.1}),
    ("capacity", {"D.diversity": 0.81, "D.auc": 0.8}, {"D.diversity": 0.79, "D.auc": 0.8}),
    ("capacity", {"D.diversity": 0.7, "D.auc": 0.69}, {"D.diversity": 0.7, "D.auc": 0.71}),
    (
        "capacity",
        {"D.diversity": 0.7, "D.auc": 0.8, "D.gap.z": 4.1},
        {"D.diversity": 0.7, "D.auc": 0.8, "D.gap.z": 3.9},
    ),
    (
        "capacity",
        {"D.diversity": 0.7, "D.auc": [0.9, 0.8] * 4},
        {"D.diversity": 0.7, "D.auc": [0.82, 0.8] * 4},
    ),
]
MEASURED = {
    "probe.rv": 0.6,
    "probe.held_auc": 0.8,
    "probe.train_fake_gap": [0.4, *[0.9] * 7],
}  # overfitting, but for what a case says


@pytest.mark.parametrize(("name", "inside", "outside"), EDGES)
def test_a_finding_begins_at_its_threshold(name: str, inside: dict[str, Any], outside: dict[str, Any]) -> None:
    rest = MEASURED if name == "overfit" else {}
    assert name not in of_windows({**rest, **inside}).found
    assert name in of_windows({**rest, **outside}).found


def test_samples_that_are_all_one_are_told_at_once() -> None:
    assert of_windows({"D.diversity": 0.01}, n=3, length=50).found["collapse"].believed == 100
    assert "collapse" not in of_windows({"D.diversity": 0.3}, n=3, length=50).found


def test_what_was_measured_once_is_not_yet_believed() -> None:
    """A probe is small, and is read in every window until the next one."""
    before = {"probe.train_fake_gap": [0.4, 0.9, None, 0.9, *[None] * 4]}
    for again, found in ((None, False), (0.8, True)):
        seen = {k: [None, 0.8, None, again, *[None] * 4] for k in ("probe.rv", "probe.held_auc")}
        assert ("overfit" in of_windows({**seen, **before}).found) is found


def test_of_a_narrow_generator_less_is_asked() -> None:
    calm = {"D.diversity": 0.9, "D.auc": 0.85}
    assert "capacity" in of_windows(calm, about=with_tree("G.hidden=[2]")).found
    assert "capacity" not in of_windows(calm, about=with_tree("G.hidden=[64,64]")).found
    assert "capacity" not in of_windows({**calm, "D.auc": 0.65}, about=with_tree("G.hidden=[2]")).found


# ---- trainings ----------------------------------------------------------------------------------------------------


def test_four_rows_are_learnt_by_heart() -> None:
    found = watched("adversarial=relativistic", *BARE, "D.hidden=[128,128,128]", steps=300, few=4).found
    assert "overfit" in found
    assert found["overfit"].sign.measures[0].value > 0.4


def test_a_critic_of_two_units_is_no_match() -> None:
    found = watched("adversarial=non-saturating", *BARE, "D.hidden=[2]", steps=100).found
    assert found["underpowered"].remedies[0].change == ("D.hidden=[64,64]",)


# ---- remedies -----------------------------------------------------------------------------------------------------

Prescribe = Callable[[Seen, Sign], Remedy | None]
REMEDIES: dict[str, Prescribe] = {
    name: fn
    for name, fn in vars(remedies).items()
    if inspect.isfunction(fn) and list(inspect.signature(fn).parameters) == ["seen", "sign"]
}
SHAPES = [(2,), (3, 32, 32), (3, 256, 256)]
NOTHING = Sign(())


def prescribed(name: str, about: About) -> Remedy | None:
    return REMEDIES[name](Seen([], about), NOTHING)


def about(*changes: str, name: str = "mlp", shape: tuple[int, ...] = (2,), batch: int = 64) -> About:
    return with_tree(*changes, name=name, shape=shape, batch=batch)


@pytest.mark.parametrize("name", [*GAMES, *OTHER_PLAYERS])
def test_every_change_is_one_that_the_recipe_takes(name: str) -> None:
    """And it changes something: a remedy that is in place already is none."""
    made, shape = recipe(name), SHAPES[len(name) % len(SHAPES)]
    some = [found for label in REMEDIES if (found := prescribed(label, about(name=name, shape=shape))) is not None]
    for remedy in some:
        assert remedy.change and made.override(*remedy.change).tree != made.tree
        assert not any(c in change for change in remedy.change for c in "{} '\"&;|$")  # a shell takes them as they are
    assert some


@pytest.mark.parametrize("name", REMEDIES)
def test_nothing_is_prescribed_where_nobody_wrote_a_recipe(name: str) -> None:
    assert prescribed(name, About()) is None


def test_every_remedy_applies_to_some_recipe_and_is_of_use_to_some_finding() -> None:
    used = {fn for detector in DETECTORS.values() for fn in detector.remedies}
    faulty = about(
        "players.D.lr=0.1", "game.d_steps=9", "game.g_steps=9", "dynamics=simultaneous", "adversarial=minimax"
    )
    more = about("penalties.r1.gamma=100", "precision=fp16", "adversarial=wasserstein", "players.D.clip_weights=0.01")
    cases = [about(shape=(3, 32, 32)), faulty, more, about(name="dcgan", shape=(3, 32, 32)), about(name="r1gan")]
    for name, fn in REMEDIES.items():
        assert any(prescribed(name, case) for case in cases), name
        assert fn in used, name


CHANGES: list[tuple[str, About, tuple[str, ...]]] = [
    ("slower_critic", about("players.D.lr=4e-3"), ("players.D.lr=0.001",)),
    ("slower_critic", about(name="r3gan"), ("players.D.lr.start=0.0005", "players.D.lr.end=0.000125")),
    ("penalise_fakes", about("penalties.r1.gamma=3"), ("penalties.r2.gamma=3",)),
    ("damp", about("adversarial=wasserstein", shape=(3, 32, 32)), ("penalties.gp.weight=10",)),
    (
        "damp",
        about("players.G.beta1=0.9", shape=(3, 256, 256)),
        ("penalties.r1.gamma=16", "penalties.r2.gamma=16", "players.G.beta1=0"),
    ),
    ("softer_penalty", about("penalties.r1.gamma=1000"), ("penalties.r1.gamma=0.1",)),
    ("softer_penalty", about("penalties.r1.gamma=0.2"), ("penalties.r1.gamma=0.05",)),
    ("wider_generator", about("G.hidden=[2]"), ("G.hidden=[64,64]",)),
    (
        "penalty_for_clipping",
        about(name="wgan", shape=(3, 32, 32)),
        ("penalties.gp.weight=10", "players.D.clip_weights=null"),
    ),
    ("packing", about(), ("tricks.packing.m=2",)),
    ("lookahead", about(), ("dynamics=lookahead",)),
    ("alternate", about("dynamics=simultaneous", "penalties.gp={}"), ("dynamics=alternating",)),
    ("wider_numbers", about("precision=fp16"), ("precision=bf16",)),
]


@pytest.mark.parametrize(("name", "case", "change"), CHANGES)
def test_a_remedy_names_the_option_to_change(name: str, case: About, change: tuple[str, ...]) -> None:
    found = prescribed(name, case)
    assert found is not None and found.change == change


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("tame_rates", about()),
        ("tame_rates", about("players.D={use: sgd, lr: 0.2}", "players.G={use: sgd, lr: 0.2}")),  # 0.2 is not hot there
        ("penalise_fakes", about("penalties.r1={}", "penalties.r2={}")),
        ("damp", about("penalties.r1={}", "penalties.r2={}")),
        ("damp", about("adversarial=hinge", "D.spectral=true")),
        ("relativistic", replace(about("adversarial=mmd"), ordered=False)),
        ("relativistic", about("tricks.label-smoothing={}")),  # which judges reals and fakes apart
        ("packing", about("tricks.packing.m=4")),
        ("packing", about(batch=63)),
        ("augment", about()),  # points are not augmented
        ("alternate", about()),
        ("lookahead", about(name="vae")),
        ("smooth_upsampling", about(name="r1gan")),
        ("wider_numbers", about("precision=float32")),
        ("stronger_penalty", about("penalties.r1.gamma=1e6")),
    ],
)
def test_a_remedy_is_silent_where_it_does_not_apply(name: str, case: About) -> None:
    assert prescribed(name, case) is None
