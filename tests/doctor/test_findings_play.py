"""Findings of how the game is played, and of numbers that are none: thresholds by hand, then trainings that are broken."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from ring_games import BARE, R1, R2, WELL, of_windows, watched, with_tree

from gantlet.doctor import Diagnosis, Window
from gantlet.doctor.finding import DETECTORS

OURS = [n for n, d in DETECTORS.items() if d.rank in ("non-finite", "dynamics", "generalisation", "outcome")]
STEEPER = {"G.slope.fake": [0.2, *[0.31] * 7]}
BOTH_HOT = ("players.D.lr=3e-2", "players.G.lr=1e-4")
SLOW = [1.0, 1.5, 2.2, 3.3, 5.0, 7.4, 11.0, 16.0]  # half as much again in each window

GROWING = {"G.update": SLOW}
CALM, BUSY = [1.0, 0.09, 0.09, 0.09, 0.2, 0.2, 0.2, 0.2], [1.0, 0.11, 0.11, 0.11, 0.2, 0.2, 0.2, 0.2]
SMALL, LARGE = (replace(with_tree(), batch=rows) for rows in (16, 1024))
# finding, vitals just inside what is healthy, vitals just outside, facts of the training
EDGES: list[tuple[str, dict[str, Any], dict[str, Any], Any]] = [
    ("stiff", {"D.gap.acf1": -0.29, "D.gap.acf2": 0.4}, {"D.gap.acf1": -0.31, "D.gap.acf2": 0.4}, None),
    ("stiff", {"D.gap.acf1": -0.4, "D.gap.acf2": 0.29}, {"D.gap.acf1": -0.4, "D.gap.acf2": 0.31}, None),
    ("stiff", {"D.gap.acf1": 0.2, "D.gap.acf2": 0.44}, {"D.gap.acf1": 0.2, "D.gap.acf2": 0.46}, None),
    ("stiff", {"D.gap.acf1": 0.1, "D.gap.acf2": 0.39}, {"D.gap.acf1": 0.1, "D.gap.acf2": 0.41}, None),
    ("limit-cycle", {"D.gap.z": 3.9, "D.gap.acf1": 0.6}, {"D.gap.z": 4.1, "D.gap.acf1": 0.6}, None),
    ("limit-cycle", {"D.fake_at.0.std": 0.69}, {"D.fake_at.0.std": 0.71}, (SMALL, SMALL)),  # 4 * 0.7 / sqrt(16)
    # of a large batch chance is small: .6 of a width is 0.42, 19.2 times what chance does in 1,024 rows
    ("limit-cycle", {"D.fake_at.0.std": 0.41}, {"D.fake_at.0.std": 0.43}, (LARGE, LARGE)),
    # a swing that dies away is on its way to rest
    (
        "limit-cycle",
        {"D.gap.z": [30, 25, 20, 14, 9, 7, 6.1, 6.1], "D.gap.acf1": 0.6},
        {"D.gap.z": [30, 25, 20, 14, 11, 10, 10, 10], "D.gap.acf1": 0.6},
        None,
    ),
    # what goes one way does not swing
    (
        "limit-cycle",
        {"D.gap.z": 9, "D.gap.acf1": 0.6, "D.gap": [0, 1, 2, 3, 4, 5, 6, 7], "D.gap.std": 0.3},
        {"D.gap.z": 9, "D.gap.acf1": 0.6, "D.gap": [0, 0.5, 0, 0.5, 0, 0.5, 0, 0.5], "D.gap.std": 0.3},
        None,
    ),
    (
        "reinflation",
        {"D.auc": 0.52, "D.update": [0.06, 0.06, 0.05, 0.05, 0.06, 0.08, 0.10, 0.12], "D.gradient": CALM},
        {"D.auc": 0.52, "D.update": [0.06, 0.06, 0.05, 0.05, 0.08, 0.11, 0.14, 0.18], "D.gradient": CALM},
        None,
    ),
    (
        "reinflation",
        {"D.auc": 0.65, **GROWING, "G.gradient": CALM},
        {"D.auc": 0.45, **GROWING, "G.gradient": CALM},
        None,
    ),
    # steps that grow while there is much to learn are no burst out of rest
    (
        "reinflation",
        {"D.auc": 0.45, **GROWING, "G.gradient": BUSY},
        {"D.auc": 0.45, **GROWING, "G.gradient": CALM},
        None,
    ),
    # nor are steps that grow while gradients hardly do
    (
        "reinflation",
        {"D.auc": 0.45, **GROWING, "G.gradient": [*CALM[:4], 0.13, 0.13, 0.13, 0.13]},
        {"D.auc": 0.45, **GROWING, "G.gradient": [*CALM[:4], 0.14, 0.14, 0.14, 0.14]},
        None,
    ),
    ("fake-slope", {"probe.slope_ratio": 3.9, **STEEPER}, {"probe.slope_ratio": 4.1, **STEEPER}, None),
    ("fake-slope", {"probe.slope_ratio": [9, 1] * 4, **STEEPER}, {"probe.slope_ratio": [9, 5] * 4, **STEEPER}, None),
    (
        "fake-slope",
        {"probe.slope_ratio": 9, "G.slope.fake": [0.2, *[0.29] * 7]},
        {"probe.slope_ratio": 9, **STEEPER},
        None,
    ),
    ("overpowered", {"D.auc": 0.86, "D.diversity": 0.5}, {"D.auc": 0.88, "D.diversity": 0.5}, None),
    ("overpowered", {"D.auc": 0.99, "D.diversity": 0.81}, {"D.auc": 0.99, "D.diversity": 0.79}, None),
    ("overpowered", {"D.auc": 0.99, "D.centre": 0.49}, {"D.auc": 0.99, "D.centre": 0.51}, None),
    # samples that get better are taught well, however sure the critic is
    (
        "overpowered",
        {"D.auc": 0.99, "D.diversity": [0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45]},
        {"D.auc": 0.99, "D.diversity": [0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.22, 0.24]},
        None,
    ),
    ("underpowered", {"D.separation": -0.74}, {"D.separation": -0.76}, None),
    ("underpowered", {"D.auc": 0.61, "D.centre": 2}, {"D.auc": 0.59, "D.centre": 2}, None),
    ("underpowered", {"D.auc": 0.5, "D.centre": 0.7}, {"D.auc": 0.5, "D.centre": 0.8}, None),
    ("exploding", {"D.gradient": [0.2] * 6 + [1.9] * 2}, {"D.gradient": [0.2] * 6 + [2.1] * 2}, None),
    ("exploding", {"D.spread": 900}, {"D.spread": 1100}, None),
    (
        "exploding",
        {"G.slope.fake": SLOW, "D.spread": SLOW},
        {"G.slope.fake": SLOW, "D.spread": SLOW},
        (with_tree("adversarial=wasserstein", "penalties.gp={}"), with_tree("adversarial=wasserstein")),
    ),
    (
        "vanishing",
        {"D.auc": 0.99, "G.slope.fake": [1] + [2e-3] * 7, "G.gradient": [1] + [2e-4] * 7},
        {"D.auc": 0.99, "G.slope.fake": [1] + [5e-4] * 7, "G.gradient": [1] + [2e-4] * 7},
        None,
    ),
    (
        "vanishing",
        {"D.auc": 0.94, "G.slope.fake": [1] + [5e-4] * 7, "G.gradient": [1] + [2e-4] * 7},
        {"D.auc": 0.96, "G.slope.fake": [1] + [5e-4] * 7, "G.gradient": [1] + [2e-4] * 7},
        None,
    ),
    ("loss-scale", {"D.scale": [65536] * 3 + [4096] * 5}, {"D.scale": [65536] * 3 + [1024] * 5}, None),
    ("loss-scale", {"D.scale": [8, 8, 4, 4, 2, 2, 1, 1]}, {"D.scale": [8, 8, 4, 4, 2, 2, 1, 0.5]}, None),
    ("nonfinite", {"D.gradient": math.nan, "D.scale": 1.0}, {"D.gradient": math.nan}, None),
    ("nonfinite", {"D.gap.acf1": math.nan, "D.separation": math.nan}, {"D.term.D": math.nan}, None),
    ("nonfinite", {}, {"alarm.D.r1": 371.0}, None),
]


@pytest.mark.parametrize(("name", "inside", "outside", "about"), EDGES)
def test_a_finding_begins_at_its_threshold(
    name: str, inside: dict[str, Any], outside: dict[str, Any], about: Any
) -> None:
    facts = [{}, {}] if about is None else [{"about": a} for a in about]
    assert name not in of_windows(inside, **facts[0]).found
    assert name in of_windows(outside, **facts[1]).found


def test_a_healthy_training_has_no_finding() -> None:
    assert set(of_windows({}).found) == set()


@pytest.mark.parametrize("name", OURS)
def test_nothing_is_said_of_vitals_that_were_not_seen(name: str) -> None:
    """Of one player, of a game of one's own, of a step without logits: NaN is no evidence."""
    empty = Diagnosis.of(of_windows({}).about, [Window(k * 100 + 1, k * 100 + 100, {}) for k in range(9)])
    missing = of_windows(dict.fromkeys(WELL), n=9)
    assert name not in empty.found and name not in missing.found


def test_a_swing_whose_whole_was_not_seen_stops_nothing() -> None:
    """A detector is asked while training: what is missing must not end it."""
    assert "limit-cycle" in of_windows({"D.fake_at.0.std": 0.9, "D.centre.z": None}).found


def test_logits_without_an_order_prove_nobody_strong_or_weak() -> None:
    """Under mmd a higher logit is no better sample: AUC and the sign of the gap mean nothing."""
    about = with_tree("adversarial=mmd", ordered=False)
    for vitals in (
        {"D.auc": 1.0, "D.centre": 0.9},
        {"D.auc": 0.0, "D.separation": -9.0},
        {"D.gap.z": 50, "D.gap.acf1": 0.9},
    ):
        assert set(of_windows(vitals, about=about).found) == set()


@pytest.mark.parametrize(
    ("change", "found"),
    [("players.D.lr=0.002", True), ("players.D.amsgrad=true", False), ("players.D={use: amsgrad}", False)],
)
def test_steps_of_a_second_moment_that_never_falls_do_not_reinflate(change: str, found: bool) -> None:
    """They grow as gradients do: the game has become harder, as where noise falls."""
    vitals = {"D.auc": 0.45, "D.update": [0.06, 0.06, 0.05, 0.05, 0.08, 0.11, 0.14, 0.18], "D.gradient": CALM}
    assert ("reinflation" in of_windows(vitals, about=with_tree(change)).found) == found


def test_few_steps_are_weaker_evidence_of_a_flip() -> None:
    """In 30 steps chance correlates a series with itself by 0.18."""
    flips = {"D.gap.acf1": -0.5, "D.gap.acf2": 0.5}
    assert "stiff" not in of_windows(flips, n=3, length=30).found
    assert "stiff" in of_windows({"D.gap.acf1": -0.8, "D.gap.acf2": 0.8}, n=3, length=30).found


@pytest.mark.parametrize("vitals", [{"D.auc": 1.0, "D.diversity": 0.1}, {"D.gap.z": 30, "D.gap.acf1": 0.9}])
def test_the_first_steps_of_any_game_are_let_pass(vitals: dict[str, float]) -> None:
    """Every generator begins as one blob, which every critic tells from the data."""
    assert set(of_windows(vitals, n=2, length=50).found) == set()


def test_the_first_bad_step_and_term_are_named() -> None:
    found = of_windows({"alarm.G.G": 372.0, "alarm.D.r1": 371.0}, n=1).found["nonfinite"]
    assert (found.sign.who, found.sign.measures[0].value) == ("D.r1", 371.0)


@pytest.mark.parametrize("name", OURS)
def test_every_finding_says_what_and_why(name: str) -> None:
    finding = DETECTORS[name]
    what, why = (" ".join(p.split()) for p in (finding.detect.__doc__ or "").split("\n\n"))
    assert 0 < len(what) <= 240 and len(why) > 100 and finding.remedies


def test_a_detector_names_the_curve_that_shows_it() -> None:
    """Whatever is measured more than once has a vital of that name in the windows, for the page to draw."""
    for name, _, outside, about in EDGES:
        made = of_windows(outside, **({} if about is None else {"about": about[1]}))
        for measure in made.found[name].sign.measures:
            assert measure.vital in made.windows[-1].values or name == "nonfinite", (name, measure)


# ---- trainings ----------------------------------------------------------------------------------------------------

NS = "adversarial=non-saturating"
SGD = tuple(f"players.{p}={{use: sgd, lr: 0.2}}" for p in ("D", "G"))
HEALTHY = {
    "relativistic": ("adversarial=relativistic", R1, R2),
    "non-saturating": (NS, R1),
    "wasserstein": ("adversarial=wasserstein", "penalties.gp.weight=0.1", "d_steps=2"),
    "hinge": ("adversarial=hinge", "D.spectral=true"),
    "least-squares": ("adversarial=least-squares", R1),
}
BROKEN: list[tuple[str, tuple[str, ...], int, set[str]]] = [
    ("a hot critic", (NS, *BARE, *BOTH_HOT), 500, {"overpowered"}),
    ("simultaneous descent", (NS, *BARE, "dynamics=simultaneous", *SGD), 500, {"limit-cycle"}),
    ("momentum", (NS, *BARE, "players.D.beta1=0.9", "players.G.beta1=0.9"), 500, {"limit-cycle"}),
    (
        "a huge penalty",
        ("adversarial=relativistic", "penalties.r1.gamma=1e3", "penalties.r2.gamma=1e3"),
        200,
        {"stiff"},
    ),
    ("huge steps", ("players.D.lr=0.5", "players.G.lr=0.5"), 100, {"large-steps"}),
]
OUR_RANKS = ("non-finite", "dynamics", "generalisation", "outcome")


def ours(diagnosis: Diagnosis) -> list[str]:
    """Names of the findings of this file's ranks, causes first."""
    return [f.name for f in diagnosis.ordered if f.detector.rank in OUR_RANKS]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", HEALTHY)
def test_a_training_that_goes_well_is_left_in_peace(name: str, seed: int) -> None:
    diagnosis = watched(*HEALTHY[name], steps=100 if seed else 300, seed=seed)
    assert ours(diagnosis) == []


@pytest.mark.parametrize(("changes", "steps", "wanted"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_a_broken_training_is_told_what_is_wrong(changes: tuple[str, ...], steps: int, wanted: set[str]) -> None:
    found = ours(watched(*changes, steps=steps))
    assert found and found[0] in wanted
