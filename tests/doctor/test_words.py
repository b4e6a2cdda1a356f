"""What the doctor says: the cause first, numbers beside their bands, options that can be typed, an answer about the loss."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import ward
from ward import ABOUT, seen_through

import gantlet.losses  # noqa: F401 (importing registers)
from gantlet.core import registry
from gantlet.core.registry import use
from gantlet.doctor import diagnosis as diagnosing
from gantlet.doctor.finding import RANKS, Measure, Remedy
from gantlet.doctor.reading import band, ignorant, loss_of_d, readings, times_outside, within
from gantlet.doctor.words import KINDS, measured, of_the_loss, paragraph, report, verdict

WORSE, LIKE = {"D.auc": 0.998}, {"D.diversity": 0.02}


@pytest.fixture(autouse=True)
def on_duty(monkeypatch):
    monkeypatch.setattr(diagnosing, "DETECTORS", ward.detectors())


def flat(text: str) -> str:
    return " ".join(text.split())


# ---- one finding ------------------------------------------------------------------------------------------------------


def test_a_finding_says_what_since_when_why_and_what_to_type():
    made = seen_through({}, WORSE, WORSE)
    text = flat(paragraph(made.found["strong"], made, width=70))
    for part in (
        "step 200: strong (D). D tells all fakes from reals, and says so (nobody 2026).",
        "the critic's AUC 0.998 (healthy: at most 0.95); from step 200 to 300",
        "why It learns faster than G does.",
        "try players.D.lr=0.0001 - half the rate of D (Heusel et al. 2017)",
        "or look at the samples",
    ):
        assert part in text
    assert text.index("players.D.lr") < text.index("look at the samples"), "in the order in which to try them"


def test_a_training_is_told_few_remedies_and_where_the_others_are(monkeypatch):
    many = tuple(lambda seen, sign, i=i: Remedy(f"remedy {i}") for i in range(5))
    monkeypatch.setitem(diagnosing.DETECTORS, "strong", replace(diagnosing.DETECTORS["strong"], remedies=many))
    made = seen_through(WORSE)
    live, whole = flat(paragraph(made.found["strong"], made)), flat(report(made))
    assert "remedy 1" in live and "remedy 2" not in live and "or one of 3 more that `gantlet diagnose` lists" in live
    assert "remedy 4" in whole and "more that" not in whole


def test_a_consequence_is_told_with_its_cause_and_without_remedies():
    made = seen_through(WORSE, {**WORSE, **LIKE})
    text = flat(paragraph(made.found["alike"], made))
    assert "diversity 0.02 (healthy: at least 0.8; 40 times off)" in text
    assert "mend `strong`" in text and "G found one" not in text and "try" not in text


def test_a_cause_that_is_found_late_names_what_was_said_before():
    made = seen_through(LIKE, {**LIKE, **WORSE})
    assert "come of it: `alike`" in flat(paragraph(made.found["strong"], made))
    alone = seen_through(WORSE)
    assert "said before" not in paragraph(alone.found["strong"], alone)


@pytest.mark.parametrize("width", [40, 60, 100])
def test_lines_keep_to_the_width_and_options_stay_whole(width):
    made = seen_through(WORSE, {**WORSE, **LIKE})
    for text in (paragraph(made.found["strong"], made, width), report(made, width)):
        assert all(len(line) <= width for line in text.splitlines())
    assert "players.D.lr=0.0001 " in report(made, 40)


def test_how_far_outside_is_said_where_a_factor_means_something():
    assert times_outside(Measure("x", 8.0, None, 2.0)) == 4 and times_outside(Measure("x", 0.1, 0.4)) == pytest.approx(
        4
    )
    assert times_outside(Measure("x", 1.0, 0.5, 2.0)) == 1, "inside"
    assert times_outside(Measure("x", -8.8, -1.0)) == 1 and times_outside(Measure("x", 3.0, None, 0.0)) == 1
    assert measured(Measure("loss", 3e9, None, 1.0)) == "loss 3e+09 (healthy: at most 1; 1000 and more times off)"
    assert "times" not in measured(Measure("AUC", 0.97, 0.4, 0.95))
    assert measured(Measure("loss", math.nan, None, 1.0)) == "loss: not a number"
    assert measured(Measure("first bad step", 7.0)) == "first bad step 7"


def test_bands_in_words_agree_with_what_is_inside():
    assert [band(*b) for b in ((None, None), (None, 2), (0.5, None), (0.5, 2))] == [
        "", "at most 2", "at least 0.5", "0.5 to 2",
    ]  # fmt: skip
    assert within(1, 0.5, 2) and within(2, None, 2) and within(-9, None, None)
    assert not within(2.1, None, 2) and not within(0.4, 0.5, None) and not within(math.nan, None, None)


# ---- a whole training -------------------------------------------------------------------------------------------------


def test_the_cause_comes_first_and_its_consequences_beneath():
    text = flat(report(seen_through({}, {**LIKE}, {**WORSE, **LIKE})))
    assert text.startswith("Something is wrong. The likely cause: strong (D)")
    assert text.index("from reals, and says so") < text.index("perhaps because of it: - alike: All samples are alike.")
    assert "from step 200 to 300, and still" in text and "Seen before" not in text


def test_what_healed_is_told_apart():
    text = flat(report(seen_through(LIKE, {})))
    assert text.startswith("Nothing is wrong any more at step 200") and "Seen before, and over: - alike" in text
    both = flat(report(seen_through(LIKE, WORSE)))
    assert both.startswith("Something is wrong. The likely cause: strong") and "Seen before, and over: - alike" in both
    assert "because of it" not in both


def test_nothing_wrong_is_said_with_the_vitals_that_say_so():
    text = flat(report(seen_through({}, {}, {})))
    assert text.startswith("Nothing is wrong: no finding up to step 300.")
    assert "60 % of pairs" in text and "0.97 times as far apart" in text and "unusual" not in text
    assert "It is early" in verdict(seen_through({})) and "It is early" not in verdict(seen_through({}, {}))
    assert verdict(seen_through()).startswith("Nothing has been seen yet")


def test_a_vital_out_of_its_band_is_called_unusual():
    text = flat(report(seen_through(*3 * [{"D.diversity": 3.5, "D.repeats": 0.0, "D.centre.z": 9.0}])))
    assert "unusual: samples lie 3.5 times" in text and "unusual: the middle of the samples wanders 9 times" in text
    assert "no fault by itself" in text and "were in the batch looked at before" not in text, "of no interest inside"


def test_vitals_are_those_of_the_turns_and_left_out_where_nobody_saw_them():
    about = replace(ABOUT, critic="judge")
    made = diagnosing.Diagnosis.of(about, [diagnosing.Window(1, 100, {"judge.auc": 0.7})])
    assert [(r.vital, r.value) for r in readings(made)] == [("judge.auc", 0.7)]


def test_every_rank_has_words():
    assert set(KINDS) == set(RANKS)


# ---- the loss that everybody asks about -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss, value",
    [
        ("non-saturating", 2 * math.log(2)), ("minimax", 2 * math.log(2)), ("relativistic", math.log(2)), ("hinge", 2),
        ("least-squares", 0.25), ("wasserstein", 0), ("kl", 0), ("pearson", 0), ("relativistic-average", 2 * math.log(2)),
    ],
)  # fmt: skip
def test_what_a_critic_that_cannot_tell_pays(loss, value):
    about = replace(ABOUT, tree={"game": {"adversarial": use(loss)}})
    tree, _ = registry.check("adversarial", loss)
    about = replace(ABOUT, tree={"game": {"adversarial": tree}})
    assert ignorant(about) == pytest.approx(value, abs=2e-3)


@pytest.mark.parametrize("loss", sorted(registry.adversarial.parts))
def test_no_blind_critic_pays_less_than_that(loss):
    """Whatever constant it says, for every loss that there is a least of."""
    tree, _ = registry.check("adversarial", loss)
    least = ignorant(replace(ABOUT, tree={"game": {"adversarial": tree}}))
    pair = registry.bind("adversarial", tree, total=None)()
    if math.isnan(least):
        assert not pair.ordered or pair.state is not None
        return
    for c in torch.randn(20).mul(3).tolist():
        assert float(pair.d(torch.full((8,), c), torch.full((8,), c))) >= least - 1e-2


def test_several_critics_pay_several_times_as_much():
    tree = {"game": {"adversarial": use("minimax"), "critics": 5}}
    assert ignorant(replace(ABOUT, tree=tree)) == pytest.approx(10 * math.log(2))
    assert math.isnan(ignorant(replace(ABOUT, tree={}))), "a game from code says nothing of its loss"
    assert math.isnan(ignorant(replace(ABOUT, tree={"game": {"adversarial": use("nobody-s")}})))


def answer(*changes: dict[str, float], loss: str = "non-saturating") -> str:
    tree, _ = registry.check("adversarial", loss)
    return of_the_loss(seen_through(*changes, about=replace(ABOUT, tree={"game": {"adversarial": tree}})))


def test_a_loss_near_0_is_normal_or_not_by_what_else_is_seen():
    low = {"D.term.D": 0.01, "D.auc": 0.94}
    assert "Is D's loss of 0.01 normal? Yes, here near 0 is normal" in answer(low, low, low)
    assert "Yes: near 0 is normal so early" in answer(low)
    assert "No, near 0 is not normal here: it comes with `strong`" in answer(*3 * [low | WORSE])


def test_a_loss_that_is_not_near_0_is_answered_too():
    assert "normal? Nothing speaks against it. A critic that cannot tell reals from fakes pays 1.39" in answer({}, {})
    assert "The loss does not say; what is wrong is `alike`." in answer(LIKE, LIKE)
    assert "worse than not to look at all; see `alike`" in answer({**LIKE, "D.term.D": 5.0})
    assert "worse than not to look at all; nothing else" in answer({"D.term.D": 5.0})


def test_a_distance_near_0_is_where_training_ends():
    assert "Nothing speaks against it. This loss is minus the distance" in answer(
        {"D.term.D": 0.001}, {"D.term.D": 0.001}, loss="wasserstein"
    )
    assert "The loss does not say; what is wrong is `strong`. This loss is minus" in answer(
        WORSE | {"D.term.D": -1e5}, loss="wasserstein"
    )
    assert "Nobody knows a healthy value" in answer({}, loss="mmd")


def test_where_there_is_no_critic_nobody_asks_about_its_loss():
    made = seen_through({}, about=replace(ABOUT, critic=None))
    assert math.isnan(loss_of_d(made)) and of_the_loss(made) == "" and "D's loss" not in report(made)
