"""The classification accuracy score: real rows as fakes reach the ceiling, wrong labels teach nothing."""

from __future__ import annotations

import json

import pytest
import torch
from digit_rows import Digits

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Batch
from gantlet.metrics.about import about_of
from gantlet.metrics.class_score import Picked, accuracy_score, enough, labelled, lot
from gantlet.metrics.interval import of_share
from gantlet.metrics.learn import accuracy, train_classifier
from gantlet.metrics.sources import Drawn, Kept

EPOCHS = 6


@pytest.fixture(scope="module")
def thirds(digits: Digits) -> tuple[Digits, Digits, Digits]:
    """(reals, rows to stand for fakes, held-out reals)."""
    return digits.cut(0, 600), digits.cut(600, 1200), digits.cut(1200, 1797)


def test_real_rows_as_fakes_reach_the_ceiling(thirds: tuple[Digits, Digits, Digits]) -> None:
    real, fake, held = thirds
    got = accuracy_score(real, fake, held_out=held, epochs=EPOCHS)
    assert got["ceiling"] > 0.85 and abs(got["gap"]) < 0.06
    assert got["gap"] == pytest.approx(got["ceiling"] - got["accuracy_score"], abs=1e-12)
    low, high = got["intervals"]["gap"]
    assert low < got["gap"] < high and high - low < 0.1
    assert (got["trained_on"], got["tested_on"], got["warning"]) == (600, 597, "")
    json.dumps(got, allow_nan=False)


def test_it_is_what_its_parts_say(thirds: tuple[Digits, Digits, Digits]) -> None:
    real, fake, held = thirds
    got = accuracy_score(real, fake, held_out=held, epochs=2, seed=3)
    chosen = Picked(fake, lot(fake, seed=3, side="fake"), 10)
    own = accuracy(train_classifier(chosen, epochs=2, seed=3), held)
    assert got["accuracy_score"] == pytest.approx(own, abs=1e-12)
    assert got["intervals"]["accuracy_score"] == list(of_share(round(own * 597), 597))
    shares = torch.bincount(held.y, minlength=10) / 597  # type: ignore[arg-type]
    by_class = torch.tensor(got["by_class"])
    assert float((shares * by_class).sum()) == pytest.approx(own, rel=1e-6)
    assert got == accuracy_score(real, fake, held_out=held, epochs=2, seed=3, batch=50)


def test_shuffled_labels_teach_nothing(thirds: tuple[Digits, Digits, Digits]) -> None:
    real, fake, held = thirds
    assert fake.y is not None
    shuffled = Digits(fake.x, fake.y[torch.randperm(len(fake))])
    got = accuracy_score(real, shuffled, held_out=held, epochs=EPOCHS)
    assert got["accuracy_score"] < 0.3 and got["gap"] > 0.5


def test_noise_and_dropped_classes_are_seen(thirds: tuple[Digits, Digits, Digits]) -> None:
    real, fake, held = thirds
    assert fake.y is not None
    kept = Kept(real)
    clean = accuracy_score(kept, fake, held_out=held, epochs=EPOCHS)
    noisy = accuracy_score(kept, Digits(fake.x + 3 * torch.randn_like(fake.x), fake.y), held_out=held, epochs=EPOCHS)
    assert noisy["accuracy_score"] < clean["accuracy_score"] - 0.05 and noisy["ceiling"] == clean["ceiling"]
    dropped = accuracy_score(kept, fake.pick(fake.y != 4), held_out=held, epochs=EPOCHS)
    assert dropped["by_class"][4] == 0 and dropped["accuracy_score"] < clean["accuracy_score"]


def test_the_ceiling_is_trained_once_and_on_as_many(thirds: tuple[Digits, Digits, Digits]) -> None:
    real, fake, held = thirds
    kept = Kept(real)
    few = accuracy_score(kept, fake.cut(0, 250), held_out=held, epochs=1)
    assert (few["trained_on"], few["real_count"], few["fake_count"]) == (250, 250, 250)
    known = dict(kept._sums)
    again = accuracy_score(kept, fake.cut(100, 350), held_out=held, epochs=1)
    assert kept._sums == known and again["ceiling"] == few["ceiling"]
    assert accuracy_score(real.cut(0, 300), fake, held_out=held, epochs=1)["trained_on"] == 300


def test_without_held_out_a_fifth_of_the_reals_is_tested_on(thirds: tuple[Digits, Digits, Digits]) -> None:
    real, fake, _ = thirds
    got = accuracy_score(real, fake, epochs=1)
    assert (got["tested_on"], got["trained_on"]) == (120, 480) and "no held-out reals were given" in got["warning"]


def test_streams_with_labels(thirds: tuple[Digits, Digits, Digits]) -> None:
    real, fake, held = thirds
    assert fake.y is not None
    pieces = [Batch(x, y) for x, y in zip(fake.x.split(70), fake.y.split(70))]
    want = accuracy_score(real, fake, held_out=held, epochs=1)
    assert accuracy_score(real, pieces, held_out=held, epochs=1) == want
    assert accuracy_score(real, iter(pieces), held_out=Kept(held), epochs=1) == want


def test_small_sets_are_gone_through_more_often(thirds: tuple[Digits, Digits, Digits]) -> None:
    real, fake, held = thirds
    assert [enough(n) for n in (20, 128, 300, 6400, 60_000)] == [400, 400, 200, 8, 8]
    got = accuracy_score(real, fake.cut(0, 20), held_out=held.cut(0, 50), epochs=1)
    assert "20 samples teach 10 classes little" in got["warning"] and "50 tested samples are few" in got["warning"]


# ---- bad input ----------------------------------------------------------------------------------------------------


def test_what_has_no_labels(thirds: tuple[Digits, Digits, Digits]) -> None:
    real, fake, held = thirds
    with pytest.raises(InputError, match="the fakes have no labels, and an accuracy score"):
        accuracy_score(real, fake.x, held_out=held)
    with pytest.raises(InputError, match="the fakes have no labels"):
        accuracy_score(real, Drawn(20, lambda first, n: fake.x[first : first + n]))
    with pytest.raises(InputError, match="the fakes have no labels"):
        accuracy_score(real, Digits(fake.x, None, 0))
    with pytest.raises(InputError, match="the reals have no labels"):
        accuracy_score(real.x, fake)
    with pytest.raises(InputError, match="the held-out reals have no labels"):
        accuracy_score(real, fake, held_out=held.x)
    unknown = torch.full((len(held),), -1)
    with pytest.raises(InputError, match="some of the reals that are tested on have no label"):
        accuracy_score(real, fake, held_out=Digits(held.x, unknown), epochs=1)


def test_what_does_not_fit(thirds: tuple[Digits, Digits, Digits]) -> None:
    real, fake, held = thirds
    assert fake.y is not None
    with pytest.raises(InputError, match=r"the fakes are \[1, 8, 8\] in 12 classes, the reals \[1, 8, 8\] in 10"):
        accuracy_score(real, Digits(fake.x, fake.y, 12), held_out=held)
    with pytest.raises(InputError, match="both must have one shape"):
        accuracy_score(real, Digits(fake.x[..., :9, :7], fake.y), held_out=held)
    with pytest.raises(InputError, match=r"held-out reals of \[1, 8, 7\]"):
        accuracy_score(real, fake, held_out=Digits(held.x[..., :7], held.y))
    with pytest.raises(InputError, match="0 held-out reals"):
        accuracy_score(real.cut(0, 4), fake)
    points = Digits(torch.randn(40, 2), torch.arange(40) % 2, 2)
    with pytest.raises(InputError, match="a classifier is of images"):
        accuracy_score(points, points)


def test_lots_are_fair_and_repeat(thirds: tuple[Digits, Digits, Digits]) -> None:
    real = thirds[0]
    one = lot(real, seed=0, side="real")
    assert torch.equal(one, lot(real, seed=0, side="real")) and sorted(one.tolist()) == list(range(600))
    assert not torch.equal(one, lot(real, seed=1, side="real"))
    assert labelled(Kept(real), "reals") is real
    picked = Picked(real, one[:7], 10)
    rows = picked.rows(torch.tensor([2, 0]))
    assert torch.equal(rows.x, real.x[one[[2, 0]]]) and picked.spec.count == len(picked) == 7


def test_what_it_says_of_itself() -> None:
    told = about_of(registry.metric.find("accuracy-score").fn)
    assert told.interval == "own" and not told.floor
    assert dict(told.scores) == {"accuracy_score": "higher", "gap": "lower"}
