"""The autopilot acts on what holds, one knob at a time, within bounds; takes back what harms; goes back; gives up."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gantlet.core.errors import NonFiniteError
from gantlet.core.train import Stop
from gantlet.core.when import every
from gantlet.doctor.autopilot import Action, Autopilot, knobs
from gantlet.doctor.autopilot.knobs import Dial, Knob
from gantlet.doctor.autopilot.moves import deviation
from gantlet.doctor.diagnosis import Diagnosis
from gantlet.doctor.finding import DETECTORS, About, Detector, Measure, Seen, Sign
from gantlet.doctor.window import Window
from gantlet.runs import checkpoint
from helpers import IMAGES, POINTS, Play, Rows, play, same, spoil

RANK = {
    "no-gradient": "wiring", "limit-cycle": "dynamics", "stiff": "dynamics", "exploding": "dynamics",
    "overpowered": "dynamics", "underpowered": "dynamics", "small-steps": "dynamics", "heavy-penalty": "dynamics",
    "reinflation": "dynamics", "fake-slope": "dynamics", "overfit": "generalisation", "collapse": "outcome",
    "diverged": "outcome", "checkerboard": "outcome",
}  # fmt: skip


def detector(name: str) -> Detector:
    """Shows itself where the window has a value by its name above 1, about the player that `NAME.who` numbers."""

    def detect(seen: Seen) -> Sign | None:
        value = seen.now(name)
        who = {1.0: "D", 2.0: "G"}.get(seen.now(f"{name}.who"), "")
        return Sign((Measure(name, value, high=1.0),), who) if value > 1 else None

    return Detector(name, RANK[name], detect, (), 1, 0)


@pytest.fixture(autouse=True)
def detectors() -> Iterator[None]:
    before = dict(DETECTORS)
    DETECTORS.clear()
    DETECTORS.update({name: detector(name) for name in RANK})
    yield
    DETECTORS.clear()
    DETECTORS.update(before)


class Bedside:
    """A small training, its diagnosis and its autopilot; windows are made by hand."""

    def __init__(self, *changes: str, **options: Any) -> None:
        changes = changes or ("penalties.r1.gamma=1", "penalties.r2.gamma=1")
        self.play: Play = play("mlp", *changes, data=Rows(POINTS))
        self.diagnosis = Diagnosis(About(critic="D", generator="G"))
        self.pilot = Autopilot(self.play.state, self.diagnosis.about, **options)

    def window(
        self, *, step: int | None = None, auc: float = 0.6, diversity: float = 1.0, **signs: float
    ) -> list[Action]:
        """One more window, `step` at its end; a sign's _ is a -, its __ a dot."""
        last = self.diagnosis.windows[-1].last if self.diagnosis.windows else 0
        now = last + 100 if step is None else step
        self.play.state.now = self.play.state.now._replace(step=now)
        values = {k.replace("__", ".").replace("_", "-"): v for k, v in signs.items()}
        self.diagnosis.see(Window(last + 1, now, {"D.auc": auc, "D.diversity": diversity, **values}))
        return self.pilot.act(self.diagnosis)

    def value(self, kind: str) -> float:
        return knobs(self.play.state)[kind].value

    @property
    def factors(self) -> dict[str, float]:
        return {kind: knob.value for kind, knob in knobs(self.play.state).items()}


def bits(bedside: Bedside) -> list[Tensor]:
    return [t.clone() for t in bedside.play.state.game.state_dict().values()]


# ---- acting -------------------------------------------------------------------------------------------------------


def test_without_a_finding_nothing_is_touched() -> None:
    bed, alone = Bedside(snapshot_every=1), Bedside()
    for _ in range(6):
        assert bed.window() == []
    assert same(bits(bed), bits(alone)) and set(bed.factors.values()) == {1.0}
    assert bed.pilot.actions == []


def test_a_training_is_bit_for_bit_the_same_until_something_is_done() -> None:
    alone = play("mlp", "penalties.r1.gamma=1", data=Rows(POINTS)).run(12)
    bed = Bedside("penalties.r1.gamma=1", snapshot_every=1)

    def act(state: Any, reports: Any) -> None:
        now = state.now.step
        bed.diagnosis.see(Window(now, now, {"D.auc": 0.6, "D.diversity": 1.0}))
        assert bed.pilot.act(bed.diagnosis) == []

    bed.play.run(12, (every(2), act))
    assert len(bed.pilot.ring.kept) == 3 and bed.pilot.ring.last.certified
    assert same(alone.weights(), bed.play.weights())


@pytest.mark.parametrize(
    ("sign", "changes", "kind", "ratio"),
    [
        ("limit_cycle", (), "penalty", 2.0),
        ("fake_slope", (), "penalty", 2.0),
        ("overpowered", (), "penalty", 2.0),
        ("underpowered", (), "penalty", 0.5),
        ("exploding", (), "penalty", 2.0),
        ("stiff", (), "penalty", 0.5),
        ("exploding", ("batch=4",), "lr", 0.5),
        ("stiff", ("batch=4",), "lr", 0.5),
        ("reinflation", (), "lr", 0.5),
        ("reinflation", ("batch=4",), "lr", 0.5),
    ],
)
def test_each_finding_turns_its_knob_by_one_step(sign: str, changes: tuple[str, ...], kind: str, ratio: float) -> None:
    bed = Bedside(*changes)
    (done,) = bed.window(**{sign: 2.0})
    assert done.before == 1 and done.after == ratio == bed.value(kind)
    assert done.reason == sign.replace("_", "-") and not done.undone
    rest = {k: v for k, v in bed.factors.items() if k.partition(".")[0] != kind}
    assert set(rest.values()) <= {1.0}, "one knob at a time"


def test_a_finding_about_one_player_turns_that_player_s_rate() -> None:
    bed = Bedside("batch=4")
    (done,) = bed.window(exploding=2.0, exploding__who=2.0)
    assert done.knob == "players.G.lr" and bed.play.state.players["G"].factor == 0.5
    assert bed.play.state.players["D"].factor == 1
    now = bed.play.state.now
    assert bed.play.state.players["G"].rate(now) == 0.5 * bed.play.state.players["D"].rate(now)


def test_a_finding_about_a_turn_is_about_its_player() -> None:
    bed = Bedside("batch=4")
    bed.pilot.about = About(players={"D": "G", "G": "G"})
    assert bed.window(exploding=2.0, exploding__who=1.0)[0].knob == "players.G.lr"


def test_a_rate_that_is_far_too_high_becomes_usual_first() -> None:
    bed = Bedside("penalties.r1.gamma=1", "players.D.lr=0.015", "players.G.lr=0.006")
    done = [a for _ in range(3) for a in bed.window(limit_cycle=2.0)]
    assert [a.knob for a in done] == ["players.D.lr", "players.G.lr", "penalties.r1"], (
        "one a window, then factors of two"
    )
    players, now = bed.play.state.players, bed.play.state.now
    assert {name: player.rate(now) for name, player in players.items()} == pytest.approx({"D": 1e-3, "G": 1e-3})
    assert done[-1].after == 2
    sgd = {"use": "sgd", "lr": 0.1}
    bed.play = play(bed.play.recipe.override(players={"D": sgd, "G": sgd}), data=Rows(POINTS))
    bed.pilot = Autopilot(bed.play.state, About())
    assert bed.window(limit_cycle=2.0)[0].knob == "penalties.r1", "of plain descent a rate alone says nothing"


@pytest.mark.parametrize(
    ("sign", "who", "changes", "turned"),
    [
        ("small_steps", 2.0, ("players.G.lr=1e-5",), {"G": 100.0}),
        ("small_steps", 1.0, ("players.G.lr=1e-5",), {}),  # about D, whose rate is usual
        ("overpowered", 1.0, ("players.G.lr=1e-5",), {"G": 100.0}),  # who loses moves too little
        ("overpowered", 1.0, ("players.D.lr=1e-5",), {}),
        ("underpowered", 1.0, ("players.D.lr=1e-5",), {"D": 100.0}),
        ("underpowered", 1.0, ("players.G.lr=1e-5",), {}),
        ("small_steps", 1.0, ("players.D.lr=2e-4",), {"D": 5.0}),
        ("underpowered", 1.0, ("players.D.lr=2e-4",), {}),  # that is what many publish
    ],
)
def test_who_moves_too_little_gets_a_usual_rate(
    sign: str, who: float, changes: tuple[str, ...], turned: dict[str, float]
) -> None:
    bed = Bedside("players.D.lr=1e-3", "players.G.lr=1e-3", *changes)
    bed.window(**{sign: 2.0, f"{sign}__who": who})
    factors = {name: p.factor for name, p in bed.play.state.players.items() if p.factor != 1}
    assert factors == pytest.approx(turned)


def test_a_penalty_far_from_usual_becomes_usual_at_once() -> None:
    """0.1 on points, as the remedies say; a schedule is somebody's own and only goes by factors."""
    both = "penalties.r1.gamma=300", "penalties.r2.gamma=30"
    bed = Bedside(*both)
    assert [a.knob for a in bed.window(heavy_penalty=2.0)] == [], "without its recipe nobody knows what is usual"
    for sign, gamma, after in (("heavy_penalty", 300, 0.1), ("underpowered", 300, 0.1), ("overpowered", 1e-3, 0.1)):
        bed = Bedside(f"penalties.r1.gamma={gamma}")
        bed.pilot.about = About(critic="D", generator="G", tree=bed.play.recipe.tree, shape=(2,))
        (done,) = bed.window(**{sign: 2.0})
        assert done.after == pytest.approx(after / gamma) == bed.value("penalty")
        assert bed.diagnosis.about.turned["r1"] == bed.value("penalty"), "what is judged next is the training as it is"
    bed = Bedside("penalties.r1.gamma.use=exponential", "penalties.r1.gamma.start=300", "penalties.r1.gamma.end=30")
    bed.pilot.about = About(critic="D", generator="G", tree=bed.play.recipe.tree, shape=(2,))
    assert bed.window(heavy_penalty=2.0) == [] and bed.window(underpowered=2.0)[0].after == 0.5


def test_after_a_step_to_what_is_usual_the_next_window_may_act() -> None:
    bed = Bedside("players.D.lr=1e-5", "players.G.lr=1e-5", "penalties.r1.gamma=1")
    steps = [{"small_steps__who": 1.0}, {"small_steps__who": 2.0}, {"small_steps__who": 2.0}]
    done = [[a.knob for a in bed.window(small_steps=2.0, **more)] for more in steps]
    assert done == [["players.D.lr"], ["players.G.lr"], []]


def test_r1_and_r2_turn_together_and_the_term_is_twice_as_large() -> None:
    bed = Bedside()
    before = bed.play.step()["D"].terms
    state = bed.play.state
    again = Bedside()
    again.window(step=0, limit_cycle=2.0)
    after = again.play.step()["D"].terms
    assert {f"penalties.{k}" for k in ("r1", "r2")} == set(again.pilot.actions[0].knob.split(" + "))
    assert torch.equal(after["r1"], 2 * before["r1"]) and torch.equal(after["r2"], 2 * before["r2"])
    assert torch.equal(after["D"], before["D"]) and state.now.step == 1


def test_what_does_not_hold_any_more_is_left_alone() -> None:
    bed = Bedside()
    DETECTORS["limit-cycle"] = Detector("limit-cycle", "dynamics", DETECTORS["limit-cycle"].detect, (), 2, 0)
    assert bed.window(limit_cycle=2.0) == [], "not believed yet"
    assert bed.window() == []
    assert bed.window(limit_cycle=2.0) == []
    assert len(bed.window(limit_cycle=2.0)) == 1


def test_a_cool_down_of_three_windows() -> None:
    bed = Bedside()
    turned = [bool(bed.window(limit_cycle=2.0)) for _ in range(7)]
    assert turned == [True, False, False, True, False, False, True]


def test_a_move_that_does_not_help_gives_way_to_the_next() -> None:
    bed = Bedside()
    done = [a for _ in range(10) for a in bed.window(limit_cycle=2.0)]
    assert [a.knob.partition(".")[0] for a in done] == ["penalties", "players", "penalties", "players"]
    assert bed.value("penalty") == 4 and bed.value("lr") == 0.25


def test_a_cause_that_no_knob_mends_is_waited_for() -> None:
    bed = Bedside()
    assert bed.window(no_gradient=2.0, limit_cycle=2.0) == []
    assert len(bed.window(limit_cycle=2.0)) == 1


def test_a_knob_stops_at_its_bound() -> None:
    bed = Bedside()
    for _ in range(40):
        bed.window(fake_slope=2.0)
    assert bed.value("penalty") == 64 and len(bed.pilot.actions) == 6
    bed = Bedside("batch=4")
    for _ in range(40):
        bed.window(reinflation=2.0)
    assert bed.value("lr") == 1 / 64 and len(bed.pilot.actions) == 6


def test_augmentation_goes_up_to_its_cap_where_ada_is() -> None:
    bed = Bedside()
    assert bed.window(overfit=2.0) == [], "there is nothing to turn"
    image = play("r1gan", "tricks.ada.cap=0.5", data=Rows(IMAGES))
    bed.play, bed.pilot = image, Autopilot(image.state, About())
    p = [bed.window(overfit=2.0) and bed.value("augment") for _ in range(12)]
    assert [round(v, 3) for v in p if v] == [0.1, 0.2, 0.4, 0.5]
    fixed = play("r1gan", "tricks.ada.p=0.3", data=Rows(IMAGES))
    assert "augment" not in knobs(fixed.state), "a probability of the user's own is the user's"


def test_dials_that_differ_keep_their_ratio_and_none_leaves_its_bounds() -> None:
    held = {"a": 1.0, "b": 0.125}
    dials = [Dial(name, lambda n=name: held[n], lambda v, n=name: held.update({n: v})) for name in held]  # type: ignore[misc]
    knob = Knob(*dials, low=0.0625, high=4.0)
    after = knob.stepped(0.5)
    assert after == 0.5
    knob.set(after)
    assert held == {"a": 0.5, "b": 0.0625} and knob.stepped(0.5) is None and knob.name == "a + b"


# ---- taking back --------------------------------------------------------------------------------------------------


def test_a_move_is_taken_back_when_something_nearer_the_cause_appears() -> None:
    bed = Bedside()
    bed.window(limit_cycle=2.0)
    assert bed.value("penalty") == 2
    (undone,) = bed.window(limit_cycle=2.0, no_gradient=2.0)
    assert undone.undone and (undone.before, undone.after) == (2, 1) and undone.reason == "no-gradient appeared"
    assert bed.value("penalty") == 1


def test_a_move_is_taken_back_when_what_it_was_for_gets_worse_for_two_windows() -> None:
    bed = Bedside()
    bed.window(limit_cycle=2.0)
    assert bed.window(limit_cycle=2.9) == []  # 1.9 of a bound outside instead of 1
    (undone,) = bed.window(limit_cycle=2.9)
    assert undone.undone and "worse" in undone.reason and bed.value("penalty") == 1


@pytest.mark.parametrize(
    "later",
    [{"limit_cycle": 2.4}, {}, {"limit_cycle": 2.0, "checkerboard": 2.0}, {"limit_cycle": 2.0, "stiff": 2.0}],
)
def test_noise_a_cure_and_a_finding_of_no_higher_rank_are_not_worse(later: dict[str, float]) -> None:
    bed = Bedside()
    bed.window(limit_cycle=2.0)
    assert [bed.window(**later) for _ in range(2)] == [[], []]
    assert bed.value("penalty") == 2


def test_a_collapse_is_worse_than_a_cycle() -> None:
    bed = Bedside()
    bed.window(limit_cycle=2.0)
    assert [a.undone for a in bed.window(limit_cycle=2.0, collapse=2.0)] == [True]


def test_a_knob_is_not_turned_to_and_fro() -> None:
    """A stiff game circles while it comes to rest: a penalty that was halved is not doubled for that at once."""
    bed = Bedside()
    bed.window(stiff=2.0)
    done = [a for _ in range(4) for a in bed.window(limit_cycle=2.0)]
    assert [(a.knob, a.after) for a in done] == [("players.D.lr + players.G.lr", 0.5)] and bed.value("penalty") == 0.5
    done = [a for _ in range(5) for a in bed.window(limit_cycle=2.0)]
    assert [a.after for a in done if "penalties" in a.knob] == [1.0], "later it may be"


def test_what_held_already_is_no_sign_of_harm() -> None:
    bed = Bedside()
    bed.window(limit_cycle=2.0, checkerboard=1.5)
    assert bed.window(limit_cycle=2.0, checkerboard=1.5) == []
    bed = Bedside()
    bed.window(limit_cycle=2.0, collapse=1.5)
    assert bed.window(limit_cycle=2.0, collapse=1.5) == []


def test_what_did_harm_once_is_not_tried_again_and_the_next_move_is() -> None:
    bed = Bedside()
    bed.window(exploding=2.0)
    bed.window(exploding=2.0, no_gradient=2.0)
    assert bed.value("penalty") == 1
    done = [a for _ in range(3) for a in bed.window(exploding=2.0)]
    assert [a.knob for a in done] == ["players.D.lr + players.G.lr"] and bed.value("penalty") == 1


def test_later_than_the_cool_down_nothing_is_taken_back() -> None:
    bed = Bedside()
    bed.window(limit_cycle=2.0)
    for _ in range(6):
        bed.window()
    assert bed.window(no_gradient=2.0) == [] and bed.value("penalty") == 2
    (done,) = bed.window(stiff=2.0)
    assert not done.undone and bed.value("penalty") == 1  # a new action: half of 2


def test_deviations_are_in_units_of_the_bound() -> None:
    assert deviation(Sign((Measure("z", 8.0, high=4.0),))) == 1
    assert deviation(Sign((Measure("auc", 0.2, low=0.4, high=0.9), Measure("b", 1.0)))) == pytest.approx(0.5)
    assert deviation(Sign((Measure("fine", 0.5, 0.0, 1.0),))) == 0
    assert deviation(Sign((Measure("lost", math.nan, 0.0, 1.0),))) > 1e6


# ---- going back ---------------------------------------------------------------------------------------------------


def certified(*changes: str) -> Bedside:
    """A training of 1,000 steps' age with a state that was certified at its last window."""
    bed = Bedside(*changes)
    for step in (900, 1000):
        bed.window(step=step)
    assert bed.pilot.ring.last.certified and bed.pilot.ring.last.step == 1000
    return bed


def test_only_what_was_healthy_for_two_windows_is_certified() -> None:
    for auc, signs, wanted in [(0.6, {}, True), (0.99, {}, False), (math.nan, {}, False), (0.6, {"stiff": 2.0}, False)]:
        bed = Bedside()
        bed.window(step=1000, auc=auc, **signs)
        assert not bed.pilot.ring.last.certified
        bed.window(step=1100)
        assert not bed.pilot.ring.last.certified or wanted
        bed.window(step=1200)
        assert bed.pilot.ring.last.certified


@pytest.mark.parametrize("diversity", [0.4, 1.5, math.nan])
def test_a_state_in_which_samples_are_too_alike_or_too_far_apart_is_not_certified(diversity: float) -> None:
    bed = Bedside()
    for step in (1000, 1100, 1200):
        bed.window(step=step, diversity=diversity)
    assert not bed.pilot.ring.last.certified


def test_the_ring_holds_three_a_thousand_steps_apart() -> None:
    bed = certified()
    for _ in range(45):
        bed.window()
    assert [kept.step for kept in bed.pilot.ring.kept] == [3000, 4000, 5000]


def test_an_alarm_that_nobody_has_read_yet_certifies_nothing() -> None:
    bed = Bedside()
    turn = bed.play.state.turns[0]
    bed.play.state.look(turn, ("D",), torch.tensor([False]))
    for step in (900, 1000, 1100):
        bed.window(step=step)
    assert not bed.pilot.ring.last.certified


def broken(bed: Bedside) -> None:
    """Weights, moments and averages somewhere else, batches seen."""
    bed.play.run(bed.play.state.now.step + 3)
    with torch.no_grad():
        for player in bed.play.state.players.values():
            for weight in player.weights:
                weight.fill_(9.0)


@pytest.mark.parametrize("sign", ["diverged", "collapse"])
def test_a_ruin_after_health_goes_back_with_smaller_steps_and_other_batches(sign: str) -> None:
    bed = certified()
    good, moments = bed.play.weights(), bed.play.state.players["D"].state_dict()
    broken(bed)
    now = bed.play.state.now
    done = bed.window(step=1100, **{sign: 2.0})
    assert same(bed.play.weights(), good)
    assert bed.play.state.players["D"].state_dict()["opt"].keys() == moments["opt"].keys()
    assert bed.play.state.now == now._replace(step=1100) and now.images > 0, "time goes on, so other batches come"
    assert bed.factors["lr"] == 0.5 and bed.factors["penalty"] == 2
    assert [(a.knob.partition(".")[0], a.reason) for a in done] == [
        ("weights", sign), ("players", sign), ("penalties", sign),
    ]  # fmt: skip
    assert (done[0].before, done[0].after) == (1100, 1000)


def test_a_collapse_before_there_was_health_is_not_gone_back_from() -> None:
    bed = Bedside()
    assert bed.window(collapse=2.0) == []
    assert bed.window(diverged=2.0)[0].after == 0, "what diverges at once begins again"


def test_a_second_retry_goes_further_and_the_snapshot_is_as_it_was() -> None:
    bed = certified()
    good = bed.play.weights()
    for tries, factor in [(1, 0.5), (2, 0.25)]:
        broken(bed)
        bed.window(diverged=2.0)
        assert bed.pilot.retries == tries and bed.factors["lr"] == factor and bed.factors["penalty"] == 2**tries
        assert same(bed.play.weights(), good)
        for _ in range(3):
            bed.window()


def test_after_two_retries_an_honest_stop_that_leaves_the_healthy_weights() -> None:
    bed = certified()
    good = bed.play.weights()
    for _ in range(2):
        bed.window(diverged=2.0)
        for _ in range(3):
            bed.window()
    broken(bed)
    with pytest.raises(Stop, match=r"diverged, again after 2 rollbacks; the weights are those of step 1,000.*tried: "):
        bed.window(diverged=2.0)
    assert same(bed.play.weights(), good)


def test_a_ruin_that_is_still_seen_right_after_going_back_costs_no_retry() -> None:
    bed = certified()
    bed.window(diverged=2.0)
    for _ in range(2):
        bed.window(diverged=2.0)
    assert bed.pilot.retries == 1


def test_a_move_that_ended_in_ruin_is_taken_back_first() -> None:
    bed = certified()
    bed.window(limit_cycle=2.0)
    done = bed.window(diverged=2.0)
    assert [a.undone for a in done] == [True, False, False, False] and bed.factors["penalty"] == 2


def test_a_stiff_training_comes_back_with_a_softer_penalty() -> None:
    bed = certified()
    bed.window(stiff=2.0, diverged=2.0)
    assert bed.factors["penalty"] == 0.5 and bed.factors["lr"] == 0.5


def test_a_training_that_is_not_finite_is_rescued_and_goes_on() -> None:
    """A real one: a term becomes NaN from step 6 on, until the learning rate is a quarter of what it was."""
    bed = Bedside(snapshot_every=2)
    state = bed.play.state

    def poison(scene: Any, loss: Any) -> Any:
        bad = scene.now.step >= 6 and state.players["D"].factor > 0.25
        return type(loss)({k: t * (math.nan if bad else 1.0) for k, t in loss.terms.items()}, loss.stats)

    spoil(state, "D", poison)
    said = []

    def watch(state: Any, reports: Any) -> None:
        try:
            state.check_finite()
        except NonFiniteError as error:
            said.append(bed.pilot.rescue(state, str(error)))
            return
        now = state.now.step
        bed.diagnosis.see(Window(now, now, {"D.auc": 0.6, "D.diversity": 1.0}))
        bed.pilot.act(bed.diagnosis)

    bed.play.run(14, (every(1), watch))
    assert said == [None, None]
    assert [a.after for a in bed.pilot.actions if a.knob == "weights"] == [6, 6]
    assert all("became NaN" in a.reason and "Lower" not in a.reason for a in bed.pilot.actions)
    state.check_finite()
    assert state.now.step == 14 and state.now.images == 14 * bed.play.engine.batch
    broken(bed)
    text = bed.pilot.rescue(state, "step 15: again")
    assert text is not None and text.startswith("step 15: again, again after 2 rollbacks") and "players.D.lr" in text
    assert all(w.max() < 9 for w in bed.play.weights()), "the weights are those of the last healthy state"


def test_running_statistics_and_controllers_come_back_and_p_does_not_jump() -> None:
    made = play("r1gan", "tricks.ada.interval=1", "tricks.ada.speed_images=1000", data=Rows(IMAGES))
    pilot = Autopilot(made.state, About())
    made.run(3)
    pilot.ring.add(made.state)
    p = float(knobs(made.state)["augment"].value)
    made.state.now = made.state.now._replace(images=made.state.now.images + 100_000)
    assert pilot.rescue(made.state, "lost") is None
    made.step()
    batch = made.engine.batch
    assert abs(knobs(made.state)["augment"].value - p) <= 2 * batch / 1000


# ---- what is kept -------------------------------------------------------------------------------------------------

STORY: list[dict[str, float]] = [
    {}, {}, {}, {"limit_cycle": 2.0}, {"limit_cycle": 2.9},
    {"limit_cycle": 2.9}, {"diverged": 2.0}, {}, {}, {"stiff": 3.0},
]  # fmt: skip


def told(bed: Bedside, story: list[dict[str, float]]) -> None:
    for signs in story:
        bed.play.run(bed.play.state.now.step + 2)
        bed.window(step=bed.play.state.now.step, **signs)


@pytest.mark.parametrize("cut", [1, 4, 5, 6, 8])
def test_ten_windows_are_five_a_save_a_load_and_five(cut: int, tmp_path: Path) -> None:
    whole, first, second = (Bedside(snapshot_every=2) for _ in range(3))
    told(whole, STORY)
    told(first, STORY[:cut])
    for bed in (first, second):
        bed.play.state.watchers["autopilot"] = bed.pilot
    checkpoint.save(first.play.state.state_dict(), tmp_path, 1)
    second.play.state.load_state_dict(checkpoint.load(tmp_path, print)[0])
    second.diagnosis = Diagnosis.of(first.diagnosis.about, first.diagnosis.windows)
    told(second, STORY[cut:])
    assert second.pilot.actions == whole.pilot.actions and len(whole.pilot.actions) >= 5
    assert second.factors == whole.factors and same(second.play.weights(), whole.play.weights())
    assert second.pilot.windows == whole.pilot.windows == 10


def test_actions_are_told_and_can_be_written_down() -> None:
    heard: list[Action] = []
    bed = Bedside(tell=heard.append)
    (done,) = bed.window(limit_cycle=2.0)
    assert heard == [done] and Action.of_json(json.loads(json.dumps(done.to_json()))) == done
    assert str(done) == "penalties.r1 + penalties.r2 x1 -> x2 for limit-cycle"
    (back,) = bed.window(no_gradient=2.0, limit_cycle=2.0)
    assert str(back) == "penalties.r1 + penalties.r2 x2 -> x1 taken back: no-gradient appeared"


def test_a_game_without_critics_has_rates_to_turn_and_can_be_certified() -> None:
    made = play("vae", data=Rows(IMAGES))
    assert set(knobs(made.state)) == {"lr", *(f"lr.{name}" for name in made.state.players)}
    diagnosis, pilot = Diagnosis(About()), Autopilot(made.state, About(), snapshot_every=1)
    for step in (10, 20):
        made.state.now = made.state.now._replace(step=step)
        diagnosis.see(Window(step - 9, step, {}))
        pilot.act(diagnosis)
    assert pilot.ring.last.certified
