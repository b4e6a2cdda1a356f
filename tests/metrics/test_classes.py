"""Classes of samples: by hand, and as the trained classifier sees the digits."""

from __future__ import annotations

import math

import pytest
import torch
from digit_rows import Digits

from gantlet.core.errors import InputError
from gantlet.metrics import Classifier, Histogram, histogram_of
from gantlet.metrics.classes import classes, divergence


def of(counts: list[int], judge: Classifier) -> Histogram:
    h = Histogram(len(counts), of=judge.hash)
    h.counts, h.confident = torch.tensor(counts), sum(counts) // 2
    return h


def test_divergence_by_hand() -> None:
    p, q = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.25, 0.25, 0.5])
    assert divergence(p, q) == pytest.approx(math.log(2)) and divergence(p, p) == 0
    assert divergence(q, p) == math.inf


def test_scores_by_hand(judge: Classifier) -> None:
    got = classes(of([25, 25, 50, 0], judge), of([99, 1, 0, 0], judge), classifier=judge)
    assert got["kl"] == pytest.approx(0.99 * math.log(0.99 / 0.25) + 0.01 * math.log(0.01 / 0.25))
    assert got["kl_floor"] == pytest.approx(2 / 200)  # three classes, a hundred samples
    assert (got["classes"], got["modes"], got["solid_modes"]) == (3, 2, 1)
    assert got["smallest_share"] == 0 and got["confident"] == 0.5 and got["warning"] == ""


def test_a_class_that_only_the_fakes_have(judge: Classifier) -> None:
    got = classes(of([50, 50, 0], judge), of([40, 40, 20], judge), classifier=judge)
    assert "class 2" in got["warning"] and math.isfinite(got["kl"])
    assert got["kl"] == pytest.approx(0.8 * math.log(0.8) + 0.2 * math.log(0.2 / 0.005))


def test_the_floor_is_what_a_perfect_generator_scores() -> None:
    q = torch.full((10,), 0.1, dtype=torch.float64)
    draws = torch.multinomial(q.expand(300, 10), 500, replacement=True)
    values = [divergence(torch.bincount(d, minlength=10) / 500, q) for d in draws]
    assert sum(values) / 300 == pytest.approx(9 / 1000, rel=0.1)


def test_digits_against_digits(judge: Classifier, digits: Digits) -> None:
    got = classes(digits, digits, classifier=judge)
    assert got["kl"] == 0 and got["modes"] == got["classes"] == 10
    assert got["confident"] == got["real_confident"] > 0.8
    assert sum(got["histogram"]) == pytest.approx(1)
    assert (got["network"], got["accuracy"]) == (judge.hash, judge.accuracy)


def test_order_and_batch_size_do_not_matter(judge: Classifier, digits: Digits) -> None:
    one, two = histogram_of(digits.x, judge), histogram_of(digits.x.flip(0), judge, batch=37)
    assert torch.equal(one.counts, two.counts) and one.confident == two.confident


def test_collapse_is_seen(judge: Classifier, digits: Digits) -> None:
    assert digits.y is not None
    some = classes(digits, digits.x[digits.y < 5], classifier=judge)
    one = classes(digits, digits.x[digits.y == 3], classifier=judge)
    assert 0.6 < some["kl"] < 0.8 < 1.9 < one["kl"]
    assert one["solid_modes"] <= 3


def test_noise_is_not_confident(judge: Classifier, digits: Digits) -> None:
    noisy = classes(digits, digits.x + 0.8 * torch.randn_like(digits.x), classifier=judge)
    assert noisy["confident"] < noisy["real_confident"] - 0.1


def test_errors(judge: Classifier, digits: Digits) -> None:
    with pytest.raises(InputError, match="need a classifier"):
        classes(digits, digits)
    with pytest.raises(InputError, match="no classifier"):
        classes(digits, digits, classifier="nowhere/at/all")
    with pytest.raises(InputError, match="another classifier"):
        classes(digits, Histogram(10), classifier=judge)
