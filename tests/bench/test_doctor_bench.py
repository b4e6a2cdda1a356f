"""bench doctor: faults break what they say, health is what it says, and the quick subset is judged rightly."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import doctor
import doctor_faults
import doctor_overhead
import doctor_rules
import doctor_scores
import doctor_truth
from cells import Cells, Clock
from doctor import CASES, ON_MNIST, QUICK, One, chosen, plan
from doctor_controls import CONTROLS, ODDITIES
from doctor_faults import FAULTS
from doctor_play import Bedside
from doctor_scores import Judged, wilson
from doctor_sets import BEDS, DEV, Feed, Table, base, tables
from gantlet.core.errors import InputError
from gantlet.core.train import train
from gantlet.doctor import Window

SMALL = {"G.hidden": [8, 8], "D.hidden": [8, 8], "batch": 16}


@pytest.fixture(autouse=True)
def one_set_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doctor_sets.POINTS", 2_000)
    tables.cache_clear()


def bedside(case: str, name: str = "ring", *changes: str) -> Bedside:
    wanted = CASES[case]
    narrow = {k: v for k, v in SMALL.items() if k not in wanted.changes and k.partition(".")[0] not in wanted.changes}
    made = base(name).override(**narrow).override(*changes, **wanted.changes)
    return wanted.bedside(made.override(steps=40), *tables(name, ""))


def step(bed: Bedside, n: int = 1) -> Bedside:
    train(bed.state, bed.engine, bed.feed, bed.state.now.step + n)
    return bed


def weights(bed: Bedside, player: str) -> list[torch.Tensor]:
    return [w.detach().clone() for w in bed.state.game.owns()[player][0].parameters()]


# ---- the plan -------------------------------------------------------------------------------------------------------


def test_what_there_is_to_measure() -> None:
    assert len(FAULTS) >= 35 and len(CONTROLS) >= 12 and len(QUICK) == 20 and {*QUICK, *ON_MNIST} <= set(CASES)
    assert sum(c in FAULTS for c in ON_MNIST) == 12 and sum(c in CONTROLS for c in ON_MNIST) == 6
    full = plan(quick=False, data="folder")
    assert {one.set for one in full} == set(BEDS) and "mnist" not in {one.set for one in plan(quick=False, data=None)}
    seeds = [{one.seed for one in full if one.set == name} for name in BEDS]
    assert sum(map(len, seeds)) == len(set().union(*seeds)), "sets have seeds of their own"
    assert all(one.recipe["steps"] <= 1_500 for one in full)
    held = [one for one in full if one.set not in DEV and one.case not in FAULTS]
    assert len(held) > 600, "two thirds of which must be healthy for 400"


def test_cells_are_chosen_by_any_part_of_their_name() -> None:
    every = plan(quick=False, data=None)
    assert {one.set for one in chosen(every, ["grid"])} == {"grid"}
    assert [one.label for one in chosen(every, ["grid/slow/121", "grid/slow"])][:3] == [
        "grid/slow/121",
        "grid/slow/120",
        "grid/slow/122",
    ]
    assert {one.set for one in chosen(every, ["checkerboard"])} == {"digits", "strokes"}
    with pytest.raises(InputError, match=r"--cell ring/nam: no such cell; did you mean 'ring/nan'"):
        chosen(every, ["ring/nam"])


def test_strokes_are_pictures_of_ten_kinds_and_always_the_same() -> None:
    train, held = tables("strokes", "")
    assert train.x.shape[1:] == (1, 8, 8) and train.y is not None and set(train.y.tolist()) == set(range(10))
    assert float(train.x.min()) == -1 and float(train.x.amax((1, 2, 3)).min()) > -0.5, "each has ink"
    tables.cache_clear()
    again, _ = tables("strokes", "")
    assert torch.equal(again.x, train.x) and len(held.x) > 100


# ---- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", CASES)
def test_every_case_can_be_played(case: str) -> None:
    bed = step(bedside(case, "digits" if CASES[case].needs == "image" else "ring"), 2)
    assert bed.state.now.step == 2
    assert all(torch.isfinite(w).all() for player in ("D", "G") for w in weights(bed, player))


@pytest.mark.parametrize(("case", "player"), [("wrong-weights", "G"), ("g-frozen", "G"), ("d-frozen", "D")])
def test_who_is_frozen_does_not_move_and_the_other_does(case: str, player: str) -> None:
    bed = bedside(case)
    other = {"G": "D", "D": "G"}[player]
    before = {p: weights(bed, p) for p in ("D", "G")}
    step(bed, 3)
    assert all(torch.equal(a, b) for a, b in zip(before[player], weights(bed, player)))
    assert not any(torch.equal(a, b) for a, b in zip(before[other], weights(bed, other)))


@pytest.mark.parametrize(("case", "moving"), [("detached", 0), ("detached-inside", 2), ("latent-deaf", 5)])
def test_only_what_is_behind_the_cut_learns(case: str, moving: int) -> None:
    bed = bedside(case)
    before = weights(bed, "G")
    step(bed, 3)
    assert sum(not torch.equal(a, b) for a, b in zip(before, weights(bed, "G"))) == moving


def test_swapped_labels_swap_what_is_wanted_and_not_what_is_seen() -> None:
    right, wrong = bedside("ns-r1-r2", "ring", "penalties={}"), bedside("labels-swapped", "ring", "penalties={}")
    losses = []
    for bed in (right, wrong):
        batch, now = bed.engine.draw(bed.state, bed.feed)
        scene = bed.state.game.stage(batch, now)
        losses.append(bed.state.turns[0].loss(scene))
    assert losses[0].stats["real"].item() == pytest.approx(losses[1].stats["real"].item())
    assert torch.equal(losses[0].views["fake"], losses[1].views["fake"])
    real, fake = (losses[0].views[f"on_{side}"] for side in ("real", "fake"))
    soft = torch.nn.functional.softplus
    assert losses[1].total.item() == pytest.approx((soft(real) + soft(-fake)).mean().item())


def test_latents_that_are_ignored() -> None:
    for case in ("latent-zero", "latent-deaf", "latent-shared"):
        game = bedside(case).state.game
        made = game.generate(game.latent(8, seed=0))
        assert torch.equal(made, made[:1].expand_as(made)), case
    game = bedside("ns-r1-r2").state.game
    assert len(game.generate(game.latent(8, seed=0)).unique(dim=0)) == 8


def test_rows_come_as_they_should() -> None:
    table = Table(torch.arange(10.0).view(10, 1))
    feed = Feed(table, 3)
    seen = feed.take(0, 30, torch.device("cpu")).x.flatten()
    assert all(seen[i : i + 10].sort().values.tolist() == list(range(10)) for i in (0, 10, 20))
    pieces = [feed.take(first, 7, torch.device("cpu")).x.flatten() for first in (0, 7, 14)]
    assert torch.equal(torch.cat(pieces), seen[:21])
    assert not torch.equal(seen[:10], Feed(table, 4).take(0, 10, torch.device("cpu")).x.flatten())
    stuck = bedside("loader-stuck").feed
    assert torch.equal(stuck.take(0, 5, torch.device("cpu")).x, stuck.take(500, 5, torch.device("cpu")).x)
    some = doctor_faults.without_some(tables("ring", "")[0])
    assert some.y is not None and set(some.y.tolist()) == set(range(2, 8))
    assert len(bedside("few-rows").train.x) == 16 and len(bedside("few-rows").held.x) == 2_000


# ---- health ---------------------------------------------------------------------------------------------------------


def test_points_are_healthy_when_all_modes_are_there() -> None:
    real, labels = (t for t in tables("ring", "")[0])
    assert labels is not None
    assert doctor_truth.of_modes("ring", real, None).healthy
    assert not doctor_truth.of_modes("ring", real[labels > 0], None).healthy, "a mode is missing"
    assert not doctor_truth.of_modes("ring", real + 0.4 * torch.randn_like(real), None).healthy, "all is blurred"
    assert not doctor_truth.of_modes("ring", real[:1].expand(2_000, 2), None).healthy
    assert not doctor_truth.of_modes("ring", real * math.nan, None).healthy
    uneven = real[(labels > 2) | (torch.arange(len(real)) % 8 == 0)]
    assert not doctor_truth.of_modes("ring", uneven, None).healthy
    shares = Table(real, labels).where((labels > 2) | (torch.arange(len(real)) % 8 == 0))
    assert doctor_truth.of_modes("ring", uneven, shares).healthy, "as uneven as the data"
    roll = tables("swissroll", "")[0].x
    assert doctor_truth.of_curve("swissroll", roll).healthy
    assert not doctor_truth.of_curve("swissroll", roll[roll.norm(dim=1) < 1]).healthy


# ---- baselines and scores -------------------------------------------------------------------------------------------


def windows(**series: list[float]) -> list[Window]:
    names = {k.replace("_", "."): v for k, v in series.items()}
    length = len(next(iter(names.values())))
    return [Window(100 * i, 100 * i + 100, {k: v[i] for k, v in names.items()}) for i in range(length)]


def test_rules_say_what_they_are_known_for() -> None:
    calm = windows(D_term_D=[1.3, 1.31, 1.29], G_term_G=[0.7, 0.71, 0.69], D_gradient=[1.0, 1.0, 1.0])
    assert [doctor_rules.said(rule, calm) for rule in doctor_rules.RULES.values()] == [None, None, None]
    sure = windows(D_term_D=[1.3, 0.1, 0.001], G_term_G=[0.7, 5.0, 20.0])
    assert doctor_rules.said(doctor_rules.folklore, sure) == ("overpowered", 300)
    assert doctor_rules.said(doctor_rules.losses, sure) == ("something", 300)
    steep = windows(D_gradient=[1.0, 101.0], D_first__last=[1.0, 1.0])
    assert doctor_rules.said(doctor_rules.folklore, steep) == ("exploding", 200)
    dead = [Window(0, 100, {"D.still": 0.8})]
    assert doctor_rules.said(doctor_rules.autotrainer, dead) == ("dead-units", 100)


def run(case: str, health: str, cause: str = "", step: int | None = None, **more: object) -> Judged:
    expected = FAULTS[case].expected if case in FAULTS else ""
    fields: dict[str, object] = {
        "set": "grid", "case": case, "seed": 0, "expected": expected, "accepted": ["stiff"], "who": "", "code": False,
        "health": health, "steps": 600, "first_good": 200 if health == "healthy" else None, "stopped": False,
        "lost": 100, "cause": cause, "named": True, "step": step, "found": [], "remedy": "", "change": [],
        "rules": dict.fromkeys(doctor_rules.RULES),
    }  # fmt: skip
    return Judged(**{**fields, **more})  # type: ignore[arg-type]


def test_only_what_is_truly_broken_or_healthy_counts() -> None:
    runs = [
        run("nan", "broken", "nonfinite", 50),
        run("nan", "healthy", "nonfinite", 50),
        run("g-hot", "broken", "stiff", 100),
        run("g-hot", "broken"),
        run("ns-r1", "healthy"),
        run("ns-r1", "broken", "stiff", 100),
        run("ls-r1", "healthy", "collapse", 300),
    ]
    got = doctor_scores.score(runs, doctor_scores.doctor)
    assert (got.faults, got.tried, got.healthy, got.controls, got.alarms) == (3, 4, 2, 3, 1)
    assert got.detected == pytest.approx(2 / 3)
    assert got.exact == pytest.approx(1 / 2) and got.accepted == pytest.approx((1 + 1 / 2) / 2)
    assert got.step == 75 and got.early == pytest.approx(75 / 200), "nobody sees it before a healthy one would be good"
    stopped = [run("nan", "broken", "nonfinite", 50, stopped=True), run("ns-r1", "healthy")]
    assert doctor_scores.score(stopped, doctor_scores.doctor).early == pytest.approx(50 / 100)


def test_the_interval_of_a_share() -> None:
    z = 1.96
    assert wilson(0, 400) == pytest.approx((0, z * z / (400 + z * z)))
    low, high = wilson(3, 10)
    for p in (low, high):  # Wilson's are the shares that lie z deviations from what was seen
        assert abs(p - 0.3) == pytest.approx(z * math.sqrt(p * (1 - p) / 10))
    assert wilson(0, 0) == (0, 1)


def test_what_watching_costs_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs of the same training, each once with the doctor; and nothing where it is not wanted now."""
    some = list(doctor_overhead.trainings(""))[:1]
    monkeypatch.setattr(doctor_overhead, "trainings", lambda data: some)
    kept, time, over = Cells("doctor"), Clock(None), Clock(0)
    assert doctor_overhead.overhead(kept, over, quick=True, data="") == []
    (one,) = doctor_overhead.overhead(kept, time, quick=True, data="")
    assert one["name"] == some[0][0] and 0 < one["min"] <= one["median"] <= one["max"] and one["step_ms"] > 0
    assert doctor_overhead.overhead(kept, over, quick=True, data="") == [one]


# ---- the bench ------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_quick_subset(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty trainings, each told apart; a second call trains nothing and comes to the same."""
    monkeypatch.setattr(doctor, "overhead", lambda *a, **k: [])
    heard: list[str] = []
    table = doctor.measure(quick=True, say=heard.append)
    runs = [Judged(**r) for r in table["runs"]]
    assert len(heard) == len(runs) == len(QUICK)
    broken = [r for r in runs if r.expected and r.health == "broken"]
    assert len(broken) >= 14, heard
    right = [r for r in broken if r.cause in (r.expected, *r.accepted)]
    assert len(right) >= 0.85 * len(broken), heard
    well = [r for r in runs if not r.expected]
    good = [
        r for r in well if r.health == "healthy"
    ]  # 300 steps are few: which of the four get there differs by machine
    assert good and not any(r.found for r in good), heard
    monkeypatch.setattr(One, "trained", None)
    assert doctor.measure(quick=True, say=heard.append)["runs"] == table["runs"]
    shown = doctor.text(table)
    assert "| ring, doctor | 20 |" in shown and "| nan | nonfinite | 1 of 1 | 1 of 1 | nonfinite |" in shown
    assert set(ODDITIES).isdisjoint(QUICK)
