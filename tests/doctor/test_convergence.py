"""When to stop: only where nothing is wrong, the score is flat, the players rest, and all of that has lasted."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
import torch

from gantlet.core import registry
from gantlet.core.optimizers import Player
from gantlet.core.registry import use
from gantlet.core.train import train
from gantlet.doctor.convergence import LEAST, SCORES, Convergence, memory, trend
from gantlet.doctor.diagnosis import Diagnosis, Finding
from gantlet.doctor.doctor import Doctor
from gantlet.doctor.finding import About, Detector, Seen, Sign
from gantlet.doctor.window import Window
from gantlet.runs.checkpoint import flatten, unflatten
from helpers import POINTS, Rows, play

ABOUT = About(critic="D", generator="G")
Curve = Callable[[int], float]


def noise(step: int, size: float) -> float:
    return random.Random(step).gauss(0, size)


def at_rest(step: int) -> float:
    return 0.02 + noise(step, 0.005)


def at_odds(step: int) -> float:
    return 0.5 + noise(step + 1, 0.01)


def learning(step: int) -> float:
    return 10 * math.exp(-step / 1000)


def followed(
    steps: int,
    *,
    score: Curve | None = at_rest,
    gap: Curve = at_rest,
    auc: Curve = at_odds,
    sick: Callable[[int], bool] = lambda step: False,
    about: About = ABOUT,
    convergence: Convergence | None = None,
    begin: int = 0,
    diagnosis: Diagnosis | None = None,
) -> tuple[int | None, Convergence, Diagnosis, str]:
    """Windows of 100 steps and a score every other: where it stops, who says so, what it saw, and
    why or what for it waits."""
    rule, diagnosis = convergence or Convergence(hold=500), diagnosis or Diagnosis(about)
    for step in range(begin + 100, steps + 1, 100):
        diagnosis.windows.append(Window(step - 99, step, {"D.auc": auc(step), "D.gap": gap(step)}))
        if sick(step):
            ill = Detector("limit-cycle", "dynamics", lambda seen: Sign(()), (), 1, 0)
            diagnosis.found["limit-cycle"] = Finding(ill, Sign(()), step, step, step)
        why = rule.see(diagnosis, step, score(step) if score and step % 200 == 0 else None)
        if why is not None:
            return step, rule, diagnosis, why
    return None, rule, diagnosis, rule.words


# ---- what is flat -------------------------------------------------------------------------------------------------


def test_a_line_has_its_slope_and_no_error() -> None:
    found = trend([0, 10, 20, 30, 50], [1.0, 3.0, 5.0, 7.0, 11.0])
    assert found.change == pytest.approx(10.0) and found.error == pytest.approx(0.0, abs=1e-12) and not found.flat()
    assert trend([0, 1, 2], [4.0, 4.0, 4.0]).flat()


def test_a_wild_value_does_not_make_a_slope() -> None:
    values = [1.0, 1.01, 0.99, 1.0, 9.0, 1.01, 0.99, 1.0]
    assert trend(list(range(8)), values).flat()
    falling = [8.0, 7.0, 6.0, 5.0, 40.0, 3.0, 2.0, 1.0]
    found = trend(list(range(8)), falling)
    assert found.change == pytest.approx(-7.0, rel=0.2) and not found.flat()


def test_noise_is_mostly_flat_and_what_stands_out_of_it_never() -> None:
    def flat(drift: float) -> float:
        draws = [[drift * i / 7 + noise(100 * k + i, 1.0) for i in range(8)] for k in range(300)]
        return sum(trend(list(range(8)), values).flat() for values in draws) / 300

    assert flat(0.0) > 0.65  # a stop that is asked for again a window later
    assert flat(4.0) < 0.1
    assert flat(8.0) == 0.0


def test_the_error_is_that_of_many_repetitions() -> None:
    found = [trend(list(range(10)), [noise(100 * k + i, 1.0) for i in range(10)]) for k in range(400)]
    spread = math.sqrt(sum(t.change**2 for t in found) / 400)
    assert sorted(t.error for t in found)[200] == pytest.approx(spread, rel=0.25)


def test_a_trifle_is_flat_however_sure() -> None:
    assert trend([0, 1, 2, 3], [100.0, 99.5, 99.0, 98.5]).flat()
    assert not trend([0, 1, 2, 3], [100.0, 99.0, 98.0, 97.0]).flat()


# ---- when it stops ------------------------------------------------------------------------------------------------


def test_it_stops_once_everything_has_lasted() -> None:
    step, rule, _, why = followed(10_000)
    first = 200 * SCORES  # before, there are too few scores to judge
    assert step is not None and step >= first + rule.hold and rule.since == step - rule.hold
    assert why.startswith(f"converged: nothing wrong since step {rule.since:,}, the score (0.0")
    assert "still tells" not in why and rule.words == ""


def test_noise_does_not_break_a_hold_test_off() -> None:
    """It takes a clearer change to give up a hold test than it takes to wait before it."""
    drift = [0.02 + noise(k, 0.005) + 0.0022 * k for k in range(SCORES)]
    found = trend(list(range(SCORES)), drift)
    assert not found.flat() and found.flat(3.0)  # between the two
    for held, waits in ((None, True), (100, False)):
        rule, diagnosis = Convergence(hold=5_000), Diagnosis(ABOUT, [Window(1, 100 * k, {}) for k in range(3)])
        diagnosis.windows += [Window(1, 300 + k, {"D.auc": 0.5, "D.gap": 0.0}) for k in range(10)]
        rule.scores, rule.since = dict(enumerate(drift)), held
        rule.see(diagnosis, 400)
        assert ("a score that settles" in rule.words) == waits
        assert rule.since == held


def test_an_improving_score_goes_on() -> None:
    step, _, _, words = followed(5_000, score=learning)
    assert step is None
    assert "waiting for: a score that settles (it fell by" in words and "500 more steps of it" in words
    worse = followed(5_000, score=lambda step: step / 100)[3]
    assert "it rose by" in worse


def test_without_scores_it_never_stops_and_says_so() -> None:
    step, _, _, words = followed(5_000, score=None)
    assert step is None and words == f"waiting for: {SCORES} more scores; 500 more steps of it"
    assert "2 more scores" in followed(200 * (SCORES - 2))[3]
    assert "a finite score" in followed(5_000, score=lambda step: math.nan)[3]


def test_a_finding_that_holds_stops_it_from_stopping() -> None:
    step, _, _, words = followed(10_000, sick=lambda step: True)
    assert step is None and words == "waiting for: health (limit-cycle holds); 500 more steps of it"


def test_a_relapse_begins_the_hold_test_anew() -> None:
    """A state that is good and does not last is not convergence: most failures come after a first success."""
    free = followed(10_000, score=lambda step: 1.0)[0]
    assert free is not None
    relapse = free - 100
    step, rule, _, _ = followed(10_000, score=lambda step: 1.0, sick=lambda step: step == relapse)
    assert step == relapse + 100 + rule.hold


def test_seven_of_eight_modes_are_not_convergence() -> None:
    """A flat score and a critic that still learns what is missing: its gap grows and the AUC is at 0.56."""
    missed = {"gap": lambda step: step / 1000, "auc": lambda step: 0.5625 + noise(step, 0.01)}
    step, _, _, words = followed(6_000, **missed)  # type: ignore[arg-type]
    assert step is None and "the critic's gap to settle (it rose by" in words and "AUC 0.56" in words
    # the same gap where the critic is as good as blind is no reason to wait
    assert followed(6_000, gap=missed["gap"])[0] is not None


def test_a_critic_that_rests_away_from_one_half_is_let_pass_and_named() -> None:
    step, _, _, why = followed(6_000, auc=lambda step: 0.9, gap=lambda step: 3 + noise(step, 0.05))
    assert step is not None and "its critic rests, but still tells real from fake in 90% of pairs" in why


def test_where_logits_have_no_order_only_the_gap_is_asked() -> None:
    unordered = About(critic="D", generator="G", ordered=False)
    assert "critic's gap to settle" in followed(5_000, about=unordered, gap=learning)[3]
    assert followed(9_000, about=unordered)[0] is not None


def test_a_game_without_a_critic_is_judged_by_its_score() -> None:
    rule, diagnosis = Convergence(hold=500), Diagnosis(About())
    why = None
    for step in range(100, 6_001, 100):
        diagnosis.windows.append(Window(step - 99, step, {"autoencoder.term.distance": 1.0}))
        why = why or rule.see(diagnosis, step, at_rest(step))
    assert why is not None and why.startswith("converged")


def test_before_the_first_window_it_waits() -> None:
    rule = Convergence()
    assert rule.words == "waiting for: a first look"
    assert rule.see(Diagnosis(ABOUT), 0) is None
    assert "a first window" in rule.words


# ---- how long it holds --------------------------------------------------------------------------------------------


def player(**options: object) -> Player:
    tree, faults = registry.check("optimizer", options)
    assert not faults
    made: Player = registry.bind("optimizer", tree, total=10)([torch.nn.Parameter(torch.ones(1))])
    return made


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        (use("adam", beta1=0.0, beta2=0.999), 1000.0),
        (use("adam", beta1=0.9, beta2=0.5), 10.0),
        (use("rmsprop", alpha=0.98), 50.0),
        (use("sgd", momentum=0.75), 4.0),
        (use("sgd"), 1.0),
        (use("negative-momentum", momentum=-0.5), 1.0),
    ],
)
def test_what_an_optimiser_remembers(options: dict[str, object], steps: float) -> None:
    assert memory(player(**options)) == pytest.approx(steps)


def test_the_hold_test_is_five_memories_of_the_longest() -> None:
    slow, quick = player(**use("adam", beta2=0.999)), player(**use("adam", beta2=0.9))
    assert Convergence.of([quick, slow]).hold == 5000
    assert Convergence.of([quick]).hold == LEAST
    assert Convergence.of([]).hold == LEAST


# ---- resume -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [100, 700, 1_600, 1_900])
def test_a_resumed_rule_stops_at_the_same_step_for_the_same_reason(cut: int) -> None:
    whole = followed(10_000)
    assert whole[0] is not None and whole[0] > cut
    _, before, diagnosis, words = followed(cut)
    record, kept = flatten(before.state_dict())  # as a checkpoint keeps it
    assert not kept
    after = Convergence(hold=500)
    after.load_state_dict(unflatten(record, {}))
    assert after.state_dict() == before.state_dict()
    step, _, _, why = followed(10_000, convergence=after, begin=cut, diagnosis=diagnosis)
    assert (step, why) == (whole[0], whole[3])
    assert words.startswith("waiting for: ")


# ---- in a real training -------------------------------------------------------------------------------------------


def test_a_young_training_is_not_taken_for_a_finished_one() -> None:
    """Its score is flat from the start, as a score may be that sees too little; its critic says that more is to come."""
    played = play("mlp", "G.z=2", "average=null", "players.D.lr=2e-3", data=Rows(POINTS))
    doctor, rule = Doctor(ABOUT), Convergence.of(played.state.players.values())
    said: list[str] = []
    for step in range(20, 121, 20):
        train(played.state, played.engine, played.data, step, [*doctor.watches()[:2]])
        doctor.close()
        assert rule.see(doctor.diagnosis, step, 1.0) is None
        said.append(rule.words)
    assert all("more steps of it" in words for words in said)
    assert any("critic's gap" in words for words in said)
    assert rule.state_dict()["scores"] and Seen(doctor.diagnosis.windows, ABOUT).step == 120
