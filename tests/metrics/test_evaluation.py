"""Several metrics of one pair of sets."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from digit_rows import Digits

from gantlet import api
from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.metrics import Classifier, Features, Kept, compare, evaluate, fd, moments_of
from gantlet.metrics.about import about_of
from gantlet.metrics.classes import classes
from gantlet.metrics.interval import GROUPS, jackknife, over_seeds


def test_it_is_its_parts(judge: Classifier, digits: Digits) -> None:
    real, fake, held = digits.cut(0, 900), digits.cut(900, 1300), digits.cut(1300, 1700)
    got = evaluate(real, fake, features=judge.features, metrics=["fd", "classes"], classifier=judge, held_out=held)
    assert without_floor(got["fd"]) == fd(real, fake, features=judge.features)
    assert without_floor(got["classes"]) == classes(real, fake, classifier=judge)
    assert got["fd"]["floor"] == fd(real, held, features=judge.features)
    assert got["fd"]["name"] == got.score("fd").name == "FD-LeNet"
    assert got.score("fd").value == got["fd"]["fd"] and got.score("fd").floor == got["fd"]["floor"]["fd"]
    json.dumps(got.to_json(), allow_nan=False)


def without_floor(answer: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in answer.items() if k != "floor"}


POINTS = ("modes", "curve")  # what these measure is points in the plane
OWN: dict[str, dict[str, Any]] = {  # options without which a metric does not fit 100 images of 8 x 8
    "modes": {"centres": [(0.0, 0.0)], "sigma": 1.0}, "ssim": {"window": "uniform"}, "path-length": {"pairs": 20},
    "accuracy-score": {"epochs": 1}, "equivariance": {"pictures": 4}, "swd": {"images": 50, "ways": 16},
}  # fmt: skip


MODELS = {"purity": "infogan", "error-rate": "semi", "reconstruction": "autoencoder"}  # what they are of


@pytest.mark.parametrize("name", list(registry.metric.parts))
def test_every_registered_metric_answers_plain_numbers(name: str, judge: Classifier, digits: Digits) -> None:
    """And says what its scores are: a row each in the report; an interval where it says there is one."""
    part, points = registry.metric.find(name), torch.randn(60, 2)
    big = torch.rand(8, 1, 176, 176) * 2 - 1
    sets = (points, points, points) if name in POINTS else tuple(digits.cut(i, i + 100) for i in (0, 100, 200))
    real, fake, held = (big, (big + 0.1).clamp(-1, 1), None) if name == "ms-ssim" else sets
    small = {"use": "style3", "z": 6, "w": 8, "width": 4}  # r1gan, whose generator can be moved
    tree, _ = registry.check("game", {**api.recipe("r1gan")["game"], "G": small})
    tree = api.recipe(MODELS[name])["game"] if name in MODELS else tree
    game = registry.bind("game", tree, total=1)(digits.spec)
    got = evaluate(
        real, fake, metrics={"it": registry.use(name, **OWN.get(name, {}))}, classifier=judge, held_out=held,
        model=game, features=judge.features if name not in POINTS else "raw", intervals=False,
    )  # fmt: skip
    json.dumps(got.to_json(), allow_nan=False)
    assert part.wants == ["real", "fake"] and "warning" in got["it"]
    assert about_of(part.fn).scores, f"{name} does not say what its scores are (@about)"
    scores = [s for s in got.scores if s.metric == "it"]
    assert [s.key for s in scores] == list(about_of(part.fn).scores)
    for score in scores:
        assert score.value is not None or got["it"].get("valid") is False, score
        own = got["it"].get("intervals", {})
        assert about_of(part.fn).interval != "own" or score.key in own or score.value is None or got["it"]["warning"]


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
    first = evaluate(kept, digits.cut(0, 300), held_out=digits.cut(300, 600), intervals=False)
    again = evaluate(kept, digits.cut(0, 300), batch=31, intervals=False)
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
    assert evaluate(digits, iter(parts), intervals=False)["fd"]["fd"] < 1e-6
    for what in ({"intervals": True}, {"metrics": ["fd", "classes"], "intervals": False}):
        with pytest.raises(InputError, match="fake is a stream and is read several times"):
            evaluate(digits, iter(parts), **what)


def test_every_fault_is_told(digits: Digits) -> None:
    with pytest.raises(InputError) as caught:
        evaluate(digits, digits, metrics={"fdd": {}, "fd": {"bach": 3}})
    text = str(caught.value)
    assert "did you mean 'fd'" in text and "did you mean 'batch'" in text
    with pytest.raises(InputError, match="at least one"):
        evaluate(digits, digits, metrics=[])
    with pytest.raises(InputError, match="no metric named 'fid'"):
        evaluate(digits, digits, metrics="fid")


def test_the_interval_of_one_set_is_the_jackknife_over_groups_dealt_like_cards(digits: Digits) -> None:
    real, fake = digits.cut(0, 900), digits.cut(900, 1400)
    got = evaluate(real, fake).score("fd")
    groups = Kept(fake).groups(GROUPS)
    less = [fd(real, fake.pick(~torch.isin(torch.arange(500), g.index)))["fd"] for g in groups]
    want = jackknife(fd(real, fake)["fd"], less)
    assert got.interval is not None and got.interval.how == "jackknife"
    assert got.interval[:2] == pytest.approx(want[:2], rel=1e-6)


def test_several_sets_give_their_mean_and_an_interval_over_them(digits: Digits) -> None:
    real, sets = digits.cut(0, 900), [digits.cut(900 + 200 * i, 1100 + 200 * i) for i in range(4)]
    got = evaluate(real, sets[0], more=sets[1:]).score("fd")
    values = [fd(real, one)["fd"] for one in sets]
    assert got.value == pytest.approx(sum(values) / 4, rel=1e-9)
    assert got.interval is not None
    assert got.interval[:2] == pytest.approx(over_seeds(values)[:2], rel=1e-6) and got.interval.how == "seeds"


def test_a_smaller_held_out_set_says_what_as_few_samples_score(digits: Digits) -> None:
    real, fake, held = digits.cut(0, 900), digits.cut(900, 1500), digits.cut(1500, 1700)
    got = evaluate(real, fake, held_out=held).score("fd")
    assert (got.count, got.floor_count) == (600, 200)
    assert got.at_floor_count == pytest.approx(fd(real, fake.pick(Kept(fake).some(200).index))["fd"], rel=1e-9)
    assert got.at_floor_count > got.value
    assert evaluate(real, held, held_out=fake).score("fd").at_floor_count is None


def test_the_same_set_twice_is_said_loudly(digits: Digits) -> None:
    a = digits.cut(0, 300)
    assert "THE SAME" in evaluate(a, a.pick(torch.arange(299, -1, -1))).warnings[0]
    assert "EVERY FAKE" in evaluate(a, a.cut(0, 200)).warnings[0]
    some = Digits(torch.cat([a.x[:20], digits.x[300:400]]), None)
    assert "of the fakes are among the reals" in evaluate(a, some).warnings[0]
    assert not evaluate(a, digits.cut(300, 600)).warnings


def test_the_protocol_says_what_must_be_equal(digits: Digits, judge: Classifier) -> None:
    a, b = digits.cut(0, 500), digits.cut(500, 900)
    first, again = evaluate(a, b), evaluate(a, digits.cut(900, 1300))
    assert first.fingerprint == again.fingerprint and compare(first, again) == []
    other = evaluate(a, b, features=judge.features, facts={"real": {"fit": "pad"}})
    told = compare(first, other)
    assert first.fingerprint != other.fingerprint
    assert any(line.startswith("features.name: raw | LeNet") for line in told)
    assert any(line.startswith("real.fit: not recorded | pad") for line in told)
    assert "fake.count: 400 | 300" in compare(first, evaluate(a, digits.cut(500, 800)))
    assert any(line.startswith("real.content") for line in compare(first, evaluate(digits.cut(1, 501), b)))
    raw, own = (evaluate(a, b, metrics={"fd": {"features": name}}) for name in ("raw", "thumbnail"))
    assert any(line.startswith("metrics.fd.features") for line in compare(raw, own))  # a metric's own network is said
    turned = evaluate(a.pick(torch.arange(499, -1, -1)), b)
    assert turned.fingerprint == first.fingerprint  # what is in a set, not how it lies


def test_features_that_are_not_finite_are_no_score(digits: Digits) -> None:
    class Broken(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)[:, :4].log()

    seen = Features("broken", Broken(), 4)
    for name in ("fd", "kd", "cmmd", "mind", "precision-recall", "vendi"):
        with pytest.raises(InputError, match="broken features hold NaN"):
            evaluate(digits.cut(0, 50), digits.cut(50, 90), metrics=[name], features=seen, intervals=False)


def test_a_stand_in_is_asked_for_once_and_sees_what_was_asked_for(digits: Digits, judge: Classifier) -> None:
    few = {"features": judge.features, "intervals": False}
    a, b = digits.cut(0, 100), digits.cut(100, 200)
    assert [s.key for s in evaluate(a, b, metrics=["fd"], **few).scores] == ["fd", "kd", "mind"]
    assert [s.key for s in evaluate(a, b, metrics=["fd", "kd"], **few).scores] == ["fd", "mind", "kd"]
    own = evaluate(a, b, metrics={"fd": {"features": "thumbnail"}}, **few)
    assert [s.name for s in own.scores] == ["FD-thumbnail", "KD-thumbnail", "MIND-thumbnail"]
