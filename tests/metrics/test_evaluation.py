"""Several metrics of one pair of sets."""

from __future__ import annotations

import json

import pytest
import torch
from digit_rows import Digits

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.metrics import Classifier, Kept, evaluate, fd, moments_of
from gantlet.metrics.classes import classes


def test_it_is_its_parts(judge: Classifier, digits: Digits) -> None:
    real, fake, held = digits.cut(0, 900), digits.cut(900, 1300), digits.cut(1300, 1797)
    got = evaluate(real, fake, features=judge.features, metrics=["fd", "classes"], classifier=judge, held_out=held)
    assert got["fd"] == fd(real, fake, features=judge.features)
    assert got["classes"] == classes(real, fake, classifier=judge)
    assert got["floor"]["fd"] == fd(real, held, features=judge.features)
    assert got["fd"]["name"] == "FD-LeNet"
    json.dumps(got, allow_nan=False)


def test_every_registered_metric_answers_plain_numbers(judge: Classifier, digits: Digits) -> None:
    x = torch.randn(50, 2)
    for name, part in registry.metric.parts.items():
        two = (x, x) if name in ("modes", "curve") else (digits.cut(0, 100), digits.cut(100, 200))
        own = {"centres": [(0.0, 0.0)], "sigma": 1.0} if name == "modes" else {}
        got = evaluate(*two, metrics={"it": registry.use(name, **own)}, classifier=judge)
        json.dumps(got, allow_nan=False)
        assert part.wants == ["real", "fake"] and "warning" in got["it"]


def test_labels_and_options(digits: Digits, judge: Classifier) -> None:
    a, b = digits.cut(0, 500), digits.cut(500, 900)
    got = evaluate(a, b, metrics={"pixels": {"use": "fd", "batch": 50}, "fd": {}}, features=judge.features)
    assert got["pixels"]["name"] == got["fd"]["name"] == "FD-LeNet"
    both = evaluate(a, b, metrics={"pixels": {"use": "fd", "features": "raw"}, "fd": "fd"}, features=judge.features)
    assert (both["pixels"]["name"], both["fd"]["name"]) == ("FD-raw", "FD-LeNet")


def test_a_kept_set_is_read_once(digits: Digits) -> None:
    class Counted(Digits):
        read = 0

        def rows(self, index, device=None):  # type: ignore[no-untyped-def]
            Counted.read += len(index)
            return super().rows(index, device)

    kept = Kept(Counted(digits.x, digits.y))
    first = evaluate(kept, digits.cut(0, 300), held_out=digits.cut(300, 600))
    again = evaluate(kept, digits.cut(0, 300), batch=31)
    assert Counted.read == len(digits)
    assert first["fd"]["fd"] == pytest.approx(again["fd"]["fd"], abs=1e-9)


def test_moments_stand_for_a_set(judge: Classifier, digits: Digits) -> None:
    moments = moments_of(digits, judge.features)
    assert fd(moments, digits.cut(0, 300), features=judge.features) == fd(
        digits, digits.cut(0, 300), features=judge.features
    )
    with pytest.raises(InputError, match="do not mix"):
        fd(moments, digits.cut(0, 300), features="raw")
    with pytest.raises(InputError, match="two Moments"):
        fd(moments, moments)
    assert fd(moments, moments, features=judge.features)["fd"] < 1e-9


def test_streams(digits: Digits) -> None:
    parts = digits.x.split(100)
    assert evaluate(digits, iter(parts))["fd"]["fd"] < 1e-6
    with pytest.raises(InputError, match="fake is a stream and 2 metrics"):
        evaluate(digits, iter(parts), metrics=["fd", "classes"])


def test_every_fault_is_told(digits: Digits) -> None:
    with pytest.raises(InputError) as caught:
        evaluate(digits, digits, metrics={"fdd": {}, "fd": {"bach": 3}, "floor": "fd"})
    text = str(caught.value)
    assert "did you mean 'fd'" in text and "did you mean 'batch'" in text and "floor" in text
    with pytest.raises(InputError, match="at least one"):
        evaluate(digits, digits, metrics=[])
    with pytest.raises(InputError, match="no metric named 'fid'"):
        evaluate(digits, digits, metrics="fid")
