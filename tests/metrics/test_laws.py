"""Laws of the scores of two sets: identity, symmetry, order, growing damage; and each one's known blind spot."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from digit_rows import Digits

from gantlet.core.game import Batch
from gantlet.metrics import Classifier, evaluate

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from blindspots import DAMAGES, Damage, blurred, noisy, verdict

DISTANCES = ("fd", "kd", "cmmd", "mind", "sliced-w2", "per-class-fd")  # scores of their own name, 0 for equal sets
UNORDERED = (*DISTANCES, "precision-recall", "density-coverage", "classes", "vendi", "birthday", "authpct", "mifid",
             "diversity", "spectrum", "checkerboard")  # fmt: skip
N = 400


@pytest.fixture(scope="module")
def halves(digits: Digits) -> tuple[Batch, Batch, Batch]:
    parts = [digits.pick(torch.arange(i, i + 4 * N, 4)) for i in (0, 1, 2)]
    return tuple(Batch(p.x, p.y) for p in parts)  # type: ignore[return-value]


def scores(real: Batch, fake: Batch, judge: Classifier, *names: str, **how: Any) -> dict[str, float | None]:
    given = {"features": judge.features, "classifier": judge, "intervals": False, **how}
    report = evaluate([real], [fake], metrics=names, **given)
    return {
        s.key: s.value if s.value is not None else report[s.metric][s.key] for s in report.scores if s.metric in names
    }


def test_nothing_is_nearer_than_the_set_itself(halves: Any, judge: Classifier) -> None:
    real, fake, _ = halves
    apart, same = scores(real, fake, judge, *DISTANCES), scores(real, real, judge, *DISTANCES)
    for key, value in same.items():
        assert value is not None and apart[key] is not None
        assert value <= 1e-6 and (key == "kd" or value > -1e-9), key  # unbiased: below 0 for equal sets
        assert value < apart[key], key


def test_the_sides_may_be_swapped(halves: Any, judge: Classifier) -> None:
    real, fake, _ = halves
    there, back = scores(real, fake, judge, *DISTANCES), scores(fake, real, judge, *DISTANCES)
    assert there == pytest.approx(back, rel=1e-6)


def test_neither_the_order_nor_the_size_of_a_batch_matters(halves: Any, judge: Classifier) -> None:
    real, fake, _ = halves
    turned = Batch(fake.x.flip(0), fake.y.flip(0))
    usual = scores(real, fake, judge, *UNORDERED)
    assert scores(real, turned, judge, *UNORDERED, batch=37) == pytest.approx(usual, rel=1e-4, abs=1e-6)


def half_blurred(share: float) -> Damage:
    """So much of the blurred image in each: all of it saturates a kernel."""
    return lambda real, fake: fake._replace(x=fake.x.lerp(blurred(1)(real, fake).x, share))


@pytest.mark.parametrize("harms", [[noisy(a) for a in (0.1, 0.3, 0.9)], [half_blurred(a) for a in (0.3, 0.6, 1.0)]])
def test_growing_damage_costs_more(harms: Any, halves: Any, judge: Classifier) -> None:
    real, fake, _ = halves
    names = ("fd", "kd", "cmmd", "mind", "sliced-w2", "spectrum")
    steps = [scores(real, made, judge, *names) for made in (fake, *(harm(real, fake) for harm in harms))]
    for key in ("fd", "kd", "cmmd", "mind", "sliced_w2", "spectrum"):
        values = [s[key] for s in steps]
        assert values == sorted(values) and values[0] < values[-1], (key, values)


SEES = {  # score -> damages that it must see, and its blind spots: "misses", "fooled" (taken for better), "blind" (either)
    "fd": {"noise 0.6": "sees", "more blur": "sees", "5 of 10 classes": "sees", "each 10 times": "sees", "copies": "fooled"},
    "kd": {"noise 0.6": "sees", "5 of 10 classes": "sees", "copies": "fooled"},
    "precision": {"noise 0.6": "sees", "5 of 10 classes": "misses", "copies": "fooled"},
    "recall": {"5 of 10 classes": "sees", "each 10 times": "sees", "copies": "fooled"},
    "coverage": {"5 of 10 classes": "sees", "more blur": "sees"},
    "is_whole": {"noise 0.6": "sees", "5 of 10 classes": "sees", "copies": "blind"},
    "kl": {"5 of 10 classes": "sees", "noise 0.2": "misses", "copies": "misses"},
    "vendi": {"5 of 10 classes": "sees", "noise 0.2": "misses"},
    "authpct": {"copies": "sees", "noise 0.6": "fooled", "5 of 10 classes": "misses"},
}  # fmt: skip


def test_what_each_score_sees_and_what_it_is_blind_to(halves: Any, judge: Classifier) -> None:
    real, fake, held = halves
    names = ("fd", "kd", "precision-recall", "density-coverage", "inception-score", "classes", "vendi", "authpct",
             "memorisation")  # fmt: skip
    given = {"features": judge.features, "classifier": judge, "held_out": [held]}
    whole = evaluate([real], [fake], metrics=names, **given)
    found: dict[str, dict[str, str]] = {}
    for label in {label for wanted in SEES.values() for label in wanted}:
        harmed = scores(real, DAMAGES[label](real, fake), judge, *names, held_out=[held])
        for key in SEES:
            score = whole.score(key)
            assert score.interval is not None, key
            row = {"interval": list(score.interval[:2]), "better": score.better}
            found.setdefault(key, {})[label] = verdict(row, harmed[key])
    learned = evaluate([real], [DAMAGES["copies"](real, fake)], metrics=["memorisation"], **given)
    assert "memorised" in learned.score("nearer").note and not whole.score("nearer").note
    assert learned["memorisation"]["p_value"] < 1e-6
    for key, wanted in SEES.items():
        for label, want in wanted.items():
            got = found[key][label]
            assert got == want or (want == "blind" and got in ("misses", "fooled")), (key, label, got)
