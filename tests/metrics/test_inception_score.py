"""The Inception Score: by hand, against the oracle, and what it cannot see."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import torch
from digit_rows import Digits
from distance_laws import ORACLE, drawn
from distance_rows import LOGITS, logits_of
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.metrics import Classifier, Features
from gantlet.metrics.inception_score import inception_score, inception_score_of, joined, sums_of


def as_logits(k: int, titles: dict[str, str] | None = None) -> Features:
    return Features("points", nn.Flatten(), k, titles=titles or {})


def logits(*rows: list[float]) -> Tensor:
    return torch.tensor(rows).log()


def test_by_hand() -> None:
    """Sure of both classes equally often: e^(0.9 log 1.8 + 0.1 log 0.2)."""
    two = logits([0.9, 0.1], [0.1, 0.9])
    want = math.exp(0.9 * math.log(1.8) + 0.1 * math.log(0.2))
    assert inception_score_of(two, splits=1) == (pytest.approx(want), 0)
    assert inception_score_of(two, splits=2)[0] == pytest.approx(1)  # one sample is all there is of a split
    mixed = torch.cat([two, logits([0.5, 0.5], [0.5, 0.5])])
    assert inception_score_of(mixed, splits=2) == (pytest.approx((want + 1) / 2), pytest.approx((want - 1) / 2))


@pytest.mark.parametrize("k", [2, 10])
def test_from_1_to_the_classes(k: int) -> None:
    sure = 100 * torch.eye(k).repeat(20, 1)
    assert inception_score_of(sure, splits=1)[0] == pytest.approx(k)
    assert inception_score_of(sure[:1].repeat(40, 1))[0] == pytest.approx(1)
    assert inception_score_of(torch.zeros(40, k))[0] == pytest.approx(1)
    assert 1 <= inception_score_of(drawn(40, k, "z"), splits=1)[0] <= k


@pytest.mark.parametrize("name", LOGITS)
def test_the_oracle(name: str) -> None:
    """torch-fidelity's, in its own order and splits."""
    said, how = ORACLE["scores"][name], ORACLE["splits"]
    x = logits_of(name)
    order = np.random.RandomState(how["seed"]).permutation(len(x))
    mean, deviation = inception_score_of(x[order], splits=how["splits"])
    assert mean == pytest.approx(said["isc"], rel=1e-6)
    assert deviation == pytest.approx(said["isc_std"], rel=1e-6)
    got = inception_score(x, x, logits=as_logits(x.shape[1]))
    assert got["is_whole"] == pytest.approx(said["isc_whole"], rel=1e-6)
    assert got["is_mean"] == pytest.approx(said["isc"], abs=4 * said["isc_std"] / math.sqrt(how["splits"]))


def test_parts_add_up() -> None:
    x = drawn(53, 7, "x")
    parts = sums_of(x, 10)
    assert sum(part.size for part in parts) == 53 and {part.size for part in parts} == {5, 6}
    assert joined(parts).score() == pytest.approx(inception_score_of(x, splits=1)[0], rel=1e-12)


def test_a_folder_in_the_order_of_its_classes() -> None:
    sure = 100 * torch.eye(10).repeat_interleave(50, 0)
    assert inception_score_of(sure)[0] == pytest.approx(1)  # as published, each split is one class
    got = inception_score(sure, sure, logits=as_logits(10))
    assert 8.5 < got["is_mean"] < 10 and got["is_whole"] == pytest.approx(10)
    assert inception_score(sure, sure.flip(0), logits=as_logits(10), batch=7)["is_whole"] == pytest.approx(10)


def test_by_the_classifier(judge: Classifier, digits: Digits) -> None:
    got = inception_score(digits, digits, classifier=judge)
    assert 7 < got["is_mean"] < got["is_whole"] < 10
    assert got["names"] == {"is_mean": "IS-LeNet", "is_whole": "IS-LeNet whole"} and got["fake_count"] == len(digits)
    assert got["is_whole"] == pytest.approx(inception_score_of(judge.logits(digits.x), splits=1)[0], rel=1e-6)
    noise = drawn(1000, 64, "n").view(-1, 1, 8, 8).clamp(-1, 1)
    one = digits.pick(digits.y == 3)  # type: ignore[arg-type]
    for worse in (noise, one):
        assert inception_score(digits, worse, classifier=judge)["is_whole"] < 0.7 * got["is_whole"]


def test_what_it_cannot_see(judge: Classifier, digits: Digits) -> None:
    """The reals; that each sample comes many times; that there are ten samples, one of each class."""
    x, y = digits.x[:800], digits.y[:800]  # type: ignore[index]
    want = inception_score(digits, x, classifier=judge)
    assert inception_score(torch.zeros(3, 1, 8, 8), x, classifier=judge)["is_whole"] == want["is_whole"]
    assert inception_score(digits, x.repeat(5, 1, 1, 1), classifier=judge)["is_whole"] == pytest.approx(
        want["is_whole"]
    )
    sure = judge.logits(x).softmax(1).gather(1, y.unsqueeze(1)).squeeze(1)
    best = torch.stack([sure.masked_fill(y != c, 0).argmax() for c in range(10)])
    ten = x[best].repeat(80, 1, 1, 1)
    assert inception_score(digits, ten, classifier=judge)["is_whole"] > want["is_whole"]


def test_intervals_hold_the_truth() -> None:
    """Of 400 fakes each, over 200 draws; the truth is the mean of the score over them all."""
    got = [
        inception_score(x, x, logits=as_logits(5), seed=i)
        for i, x in ((i, 3 * drawn(400, 5, "cover", i)) for i in range(200))
    ]
    for key in ("is_mean", "is_whole"):
        truth = statistics.fmean(g[key] for g in got)
        hits = sum(g["intervals"][key][0] <= truth <= g["intervals"][key][1] for g in got)
        assert hits >= 180


def test_what_it_says() -> None:
    x = drawn(30, 3, "x")
    assert inception_score(x, x, logits=as_logits(3, {"IS": "IS"}))["names"]["is_mean"] == "IS"
    assert "3 samples a split for 3 classes" in inception_score(x, x, logits=as_logits(3))["warning"]
    assert inception_score(x, x, logits=as_logits(3), splits=5)["warning"] == ""
    got = inception_score(x, iter(x.split(9)), logits=as_logits(3))
    assert got["fake_count"] == 30 and got == inception_score(x, x, logits=as_logits(3))
    with pytest.raises(InputError, match="inception-logits"):
        inception_score(x, x)
    with pytest.raises(InputError, match="at least 10 samples, there are 9"):
        inception_score(x, x[:9], logits=as_logits(3))
