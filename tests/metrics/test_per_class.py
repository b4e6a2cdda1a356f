"""The Frechet distance within each class."""

from __future__ import annotations

import pytest
import torch
from digit_rows import Digits
from distance_laws import drawn
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.core.game import Batch
from gantlet.metrics import Classifier, Features, Kept, fd
from gantlet.metrics.per_class import per_class_fd
from gantlet.metrics.sources import dealt, without


def labelled(n: int, name: str, *, classes: int = 3, d: int = 2, wide: float = 1.0) -> tuple[Tensor, Tensor]:
    """Class c is around 3 c."""
    y = torch.arange(n) % classes
    return drawn(n, d, name, scale=wide) + 3 * y.unsqueeze(1).float(), y


def test_it_is_the_mean_of_each() -> None:
    (x, a), (y, b) = labelled(120, "x"), labelled(90, "y", wide=1.5)
    got = per_class_fd(Batch(x, a), Batch(y, b))
    each = [fd(x[a == c], y[b == c])["fd"] for c in range(3)]
    assert list(got["by_class"].values()) == pytest.approx(each, rel=1e-9)
    assert got["per_class_fd"] == pytest.approx(sum(each) / 3, rel=1e-9)
    assert got["valid"] and got["warning"] == "" and got["left_out"] == [] and got["fake_counts"]["2"] == 30
    assert got["name"] == "intra-FD-raw"


def test_it_sees_samples_of_the_wrong_class() -> None:
    (x, a), (y, b) = labelled(300, "x"), labelled(300, "y")
    right, wrong = Batch(y, b), Batch(y, (b + 1) % 3)
    assert fd(Batch(x, a), right)["fd"] == fd(Batch(x, a), wrong)["fd"] < 0.2
    assert per_class_fd(Batch(x, a), right)["per_class_fd"] < 0.2
    assert per_class_fd(Batch(x, a), wrong)["per_class_fd"] > 10


def test_any_source_and_any_order() -> None:
    (x, a), (y, b) = labelled(60, "x"), labelled(61, "y")
    want = per_class_fd(Batch(x, a), Batch(y, b))["per_class_fd"]
    turn = torch.randperm(61)
    flat = Features("flat", torch.nn.Flatten(), 2)
    stream = (Batch(y[i : i + 7], b[i : i + 7]) for i in range(0, 61, 7))
    kept = Kept(Digits(y, b))
    for fake in (Batch(y[turn], b[turn]), [Batch(y[:9], b[:9]), Batch(y[9:], b[9:])], stream, kept, kept):
        got = per_class_fd(Kept(Batch(x, a)), fake, features=flat, batch=8)
        assert got["per_class_fd"] == pytest.approx(want, rel=1e-9)
    rest = dealt(0, 61, 10) != 4
    less = per_class_fd(Batch(x, a), without(kept, 4, 10))
    assert less["per_class_fd"] == pytest.approx(
        per_class_fd(Batch(x, a), Batch(y[rest], b[rest]))["per_class_fd"], rel=1e-9
    )


def test_classes_that_are_small_or_missing() -> None:
    (x, a), (y, b) = labelled(120, "x"), labelled(90, "y")
    few = torch.cat([(b == 0).nonzero(), (b == 1).nonzero()[:1], (b == 2).nonzero()[:3]]).flatten()
    got = per_class_fd(Batch(x, a), Batch(y[few], b[few]))
    assert not got["valid"] and got["left_out"] == [1] and set(got["by_class"]) == {"0", "2"}
    assert "classes 1 have fewer" in got["warning"] and "3 samples of a class for 2 dimensions" in got["warning"]
    assert got["real_counts"]["1"] == 40 and got["fake_counts"]["1"] == 1
    alien = per_class_fd(Batch(x, a), Batch(torch.cat([y, y]), torch.cat([b, b + 7])))
    assert alien["left_out"] == [7, 8, 9] and not alien["valid"]
    with pytest.raises(InputError, match="no class has 2 samples on both sides"):
        per_class_fd(Batch(x, a), Batch(y, b + 7))


def test_labels_are_needed() -> None:
    x, a = labelled(30, "x")
    for bad in (x, Batch(x), Kept(x), Batch(x, torch.full((30,), -1))):
        with pytest.raises(InputError, match="the fake set has no labels"):
            per_class_fd(Batch(x, a), bad)
        with pytest.raises(InputError, match="the real set has no labels"):
            per_class_fd(bad, Batch(x, a))
    for y in (torch.cat([a[:29], a[:1] - 1]), a.float(), torch.eye(3).long()[a]):
        with pytest.raises(InputError, match="labels that are no classes"):
            per_class_fd(Batch(x, a), Batch(x, y))


def test_of_the_digits(judge: Classifier, digits: Digits) -> None:
    assert digits.y is not None
    one, two = digits.cut(0, 900), digits.cut(900, 1797)
    got = per_class_fd(one, two, features=judge.features)
    assert len(got["by_class"]) == 10 and not got["valid"]  # 90 of each for 128 dimensions
    off = per_class_fd(one, Digits(two.x, (two.y + 1) % 10), features=judge.features)
    assert off["per_class_fd"] > 2 * got["per_class_fd"]
