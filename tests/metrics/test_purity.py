"""Purity and the error rate: the assignment against brute force, tables with known answers, and what has neither."""

from __future__ import annotations

import itertools
import math
import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from digit_rows import Digits
from torch import Tensor, nn

import gantlet
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Game, Loss, Turn
from gantlet.core.when import Now
from gantlet.data import open_source
from gantlet.data.few import Part
from gantlet.metrics import evaluate
from gantlet.metrics.few_labels import error_rate
from gantlet.metrics.interval import of_share
from gantlet.metrics.purity import assignment, matched, purity
from gantlet.metrics.sources import Kept
from gantlet.runs.evaluation import _in_numbers_of


@pytest.mark.parametrize("n", range(1, 7))
def test_the_assignment_is_the_best_of_all(n: int) -> None:
    draw = random.Random(n)
    for kind in range(40):
        costs = [[draw.choice([draw.gauss(0, 1), draw.randint(-2, 2)][kind % 2 :]) for _ in range(n)] for _ in range(n)]
        found = assignment(costs)
        assert sorted(found) == list(range(n))
        best = min(sum(costs[i][p[i]] for i in range(n)) for p in itertools.permutations(range(n)))
        assert sum(costs[i][found[i]] for i in range(n)) == pytest.approx(best, abs=1e-12)


def test_a_large_assignment_finds_the_permutation_it_was_made_of() -> None:
    draw = random.Random(0)
    hidden = draw.sample(range(60), 60)
    costs = [[draw.random() + (0 if hidden[i] == j else 1) for j in range(60)] for i in range(60)]
    assert assignment(costs) == hidden


def test_codes_and_classes_need_not_be_as_many() -> None:
    more_codes = torch.tensor([[5, 0], [6, 1], [0, 4]])
    assert matched(more_codes) == {1: 0, 2: 1}
    assert matched(more_codes.T) == {0: 1, 1: 2}
    # the greedy choice (9) would leave 1; the best is 8 + 7
    assert matched(torch.tensor([[9, 8], [7, 1]])) == {0: 1, 1: 0}


class Reads(Game):
    """A model that says of a sample what a table says of its number: x [N, 1] -> row x of a table."""

    def __init__(self, table: list[int], codes: int, *, honest: bool = True) -> None:
        super().__init__()
        self.table, self.classes, self.z_dim, self.honest = torch.tensor(table), codes, 1, honest
        self.weight = nn.Linear(1, 1)

    def codes_of(self, x: Tensor) -> Tensor:
        return 50.0 * F.one_hot(self.table[x.squeeze(1).long()], self.classes).float()

    classify = codes_of

    def classes_of(self, z: Tensor) -> Tensor:
        return (z.squeeze(1) > 0).long()

    def generate(self, z: Tensor, *given: Tensor) -> Tensor:
        """A sample whose code is its latent's, or not."""
        wanted = self.classes_of(z) if self.honest else 1 - self.classes_of(z)
        return torch.stack([(self.table == k).nonzero()[0].float() for k in wanted.tolist()])

    def owns(self) -> dict[str, list[nn.Module]]:
        return {"G": [self.weight]}

    def turns(self) -> list[Turn]:
        return [Turn("G", "G", lambda scene: Loss({"none": scene.sum()}))]

    def stage(self, batch: Batch, now: Now) -> Any:
        return batch.x

    def made_of(self) -> dict[str, nn.Module]:
        return {"G": self.weight}


X = torch.arange(10.0).unsqueeze(1)
Y = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
HELD = [Batch(X, Y)]


def test_purity_by_hand() -> None:
    """Codes 2, 0, 1 for classes 0, 1, 2, with two mistakes."""
    said = [2, 2, 2, 0, 0, 0, 0, 1, 1, 2]
    got = purity([X], [X], model=Reads(said, 3), held_out=HELD, count=50)
    assert got["purity"] == pytest.approx(0.8)
    assert got["matching"] == {"0": 1, "1": 2, "2": 0}
    assert got["by_code"]["0"] == pytest.approx(3 / 4) and got["by_code"]["1"] == 1.0
    assert (got["real_count"], got["fake_count"], got["warning"]) == (10, 0, "")
    assert got["intervals"]["purity"] == pytest.approx(list(of_share(8, 10)))


def test_information_is_the_entropy_where_q_is_right_and_far_below_where_it_is_wrong() -> None:
    honest, false = (Reads([0, 1] * 5, 2, honest=h) for h in (True, False))
    got = purity([X], [X], model=honest, held_out=HELD, count=300, batch=64)
    assert got["entropy"] == pytest.approx(math.log(2))
    assert got["information"] == pytest.approx(math.log(2), abs=1e-9)
    assert purity([X], [X], model=false, held_out=HELD, count=300)["information"] < -40


def test_the_error_rate_by_hand() -> None:
    got = error_rate([X], [X], model=Reads([0, 0, 0, 1, 1, 1, 1, 2, 2, 0], 3), held_out=HELD)
    assert got["error_rate"] == pytest.approx(0.2) and got["wrong"] == 2
    assert got["by_class"] == {"0": pytest.approx(0.25), "1": 0.0, "2": pytest.approx(1 / 3)}
    blind = error_rate([X], [X], model=Reads([0, 0, 0, 0, 1, 1, 1, 0, 0, 0], 2), held_out=HELD)  # knows no class 2
    assert blind["error_rate"] == pytest.approx(0.3) and blind["by_class"]["2"] == 1.0


def test_what_a_model_said_is_not_kept_with_the_reals() -> None:
    """The same model after more training, asked about the same kept set."""
    model, held = Reads([0] * 4 + [1] * 3 + [2] * 3, 3), Kept(HELD)
    assert error_rate([X], [X], model=model, held_out=held)["error_rate"] == 0
    assert purity([X], [X], model=model, held_out=held, count=2)["purity"] == 1
    model.table = torch.tensor([1, 2, 0] * 3 + [1])
    assert error_rate([X], [X], model=model, held_out=held)["error_rate"] > 0.5
    assert purity([X], [X], model=model, held_out=held, count=2)["purity"] < 1


def test_more_codes_than_classes_cannot_all_be_matched() -> None:
    """Perfectly pure: each class has two codes of its own, and one of them counts as wrong."""
    x, y = torch.arange(12.0).unsqueeze(1), torch.arange(12) // 4
    got = purity([x], [x], model=Reads([i // 2 for i in range(12)], 6), held_out=[Batch(x, y)], count=2)
    assert got["purity"] == pytest.approx(3 / 6)
    assert got["warning"] == "6 codes for 3 classes: 3 are matched to none and count as wrong"


def test_all_held_out_reals_are_asked_about_once_whatever_the_fakes_are() -> None:
    model = Reads([0] * 4 + [1] * 3 + [2] * 2 + [0], 3)
    asked: list[int] = []
    model.classify = lambda x: asked.append(len(x)) or model.codes_of(x)
    part = [Batch(X[:5], Y[:5])]
    sets: dict[str, Any] = {"more": [[X[:4]]], "metrics": ["error-rate"], "model": model, "held_out": part}
    report = evaluate([X], [X[:3]], every_held=HELD, **sets)
    assert (report.score("error_rate").value, report.score("error_rate").count) == (pytest.approx(0.1), 10)
    assert report.score("error_rate").interval.of == 10 and sum(asked) == 10
    assert evaluate([X], [X[:3]], **sets).score("error_rate").count == 5
    assert report.protocol["held_out"]["count"] == 5


def test_labels_are_the_model_s_by_name() -> None:
    """A folder that has the classes in another order, or one that the model never learned."""

    class Named(Part):
        def __init__(self, *names: str) -> None:
            super().__init__(open_source("digits"), torch.arange(6))
            self.class_names, self.labels = names, torch.tensor([0, 1, 2, 0, 1, 0])

        def labels_array(self) -> Tensor:
            return self.labels

    model: Any = SimpleNamespace(game=Reads([0], 3), config={"class_names": ["a", "b", "c"]})
    numbers = torch.arange(6)
    assert _in_numbers_of(model, Named("c", "a", "b")).rows(numbers).y.tolist() == [2, 0, 1, 2, 0, 2]
    assert _in_numbers_of(model, Named("a", "b", "c")).rows(numbers).y.tolist() == [0, 1, 2, 0, 1, 0]
    alien = _in_numbers_of(model, Named("c", "a", "d"))
    assert alien.rows(numbers[:2]).y.tolist() == [2, 0]  # as long as none of it is read
    with pytest.raises(InputError, match=r"has a class 'd' that the model never learned; it knows a, b, c"):
        alien.rows(numbers)
    deaf: Any = SimpleNamespace(game=nn.Linear(1, 1), config=model.config)
    assert _in_numbers_of(deaf, Named("c", "a", "d")).rows(numbers).y.tolist() == [0, 1, 2, 0, 1, 0]


def test_a_run_is_asked_about_its_whole_test_split_truncated_or_not(tmp_path: Any) -> None:
    gantlet.train("semi", "G.hidden=[8]", "D.hidden=[8]", "labelled=20", data="digits", steps=2, out=tmp_path / "r",
                  batch=10, sample_every=0, save_every=0)  # fmt: skip
    how: dict[str, Any] = {"metrics": "error-rate", "n": 20, "seeds": 1, "features": "thumbnail"}
    score = gantlet.evaluate(None, tmp_path / "r", **how).score("error_rate")
    assert score.count == len(open_source("digits", split="test")) > 20
    assert gantlet.evaluate(None, tmp_path / "r", truncation=0.7, **how).score("error_rate").value == score.value


def test_in_a_report_each_has_an_interval_and_its_own_row(digits: Digits) -> None:
    got = evaluate(
        [X], [X], metrics=["purity", "error-rate"], model=Reads([0] * 4 + [1] * 3 + [2] * 3, 3), held_out=HELD
    )
    for key, value, better in (("purity", 1.0, "higher"), ("error_rate", 0.0, "lower")):
        score = got.score(key)
        assert (score.value, score.better, score.count) == (value, better, 10)
        assert score.interval is not None and score.interval.how == "own"
        assert score.interval.low <= value + 1e-9 and value - 1e-9 <= score.interval.high


def test_what_has_no_codes_or_no_reals_says_so(digits: Digits) -> None:
    model = Reads([0] * 10, 3)
    plain = digits.cut(0, 50)
    for metric, what in ((purity, "codes and this model has none.*infogan"), (error_rate, "classifier .*recipe semi")):
        with pytest.raises(InputError, match=what):
            metric(plain, plain, model=None, held_out=plain)
        with pytest.raises(InputError, match="held-out reals and there are none"):
            metric([X], [X], model=model, held_out=None)
        with pytest.raises(InputError, match="have no labels, or not all"):
            metric([X], [X], model=model, held_out=[Batch(X)])
