"""The share of fakes that are what was asked for: by hand, and refused where nothing was."""

from __future__ import annotations

import pytest
import torch
from digit_rows import Digits

from gantlet.core.errors import InputError
from gantlet.core.game import Batch
from gantlet.metrics import Classifier
from gantlet.metrics.asked import as_asked


def test_by_hand(judge: Classifier, digits: Digits) -> None:
    """Reals under their own label are as asked as the judge is right; under the next class's, as often as it is wrong so."""
    rows = digits.cut(0, 200)
    (batch,) = [rows.rows(torch.arange(200))]
    said = judge.logits(batch.x).argmax(1).cpu()
    got = as_asked(rows, rows, classifier=judge)
    assert got["as_asked"] == pytest.approx(float((said == batch.y).double().mean()))
    for y, share in got["by_class"].items():
        mine = batch.y == int(y)
        assert share == pytest.approx(float((said[mine] == int(y)).double().mean()))
    moved = Batch(batch.x, (batch.y + 1) % 10)
    assert as_asked(rows, [moved], classifier=judge)["as_asked"] == float((said == moved.y).double().mean())
    assert as_asked(rows, [moved], classifier=judge)["as_asked"] < 0.1
    low, high = got["intervals"]["as_asked"]
    assert low < got["as_asked"] <= high <= 1


def test_what_bears_no_class_is_refused(judge: Classifier, digits: Digits) -> None:
    rows = digits.cut(0, 20)
    with pytest.raises(InputError, match="evaluate a conditional run"):
        as_asked(rows, rows.rows(torch.arange(20)).x, classifier=judge)
    with pytest.raises(InputError, match="needs a classifier"):
        as_asked(rows, rows)
    x = rows.rows(torch.arange(2)).x
    with pytest.raises(InputError, match=r"classes outside 0\.\.9"):
        as_asked(rows, [Batch(x, torch.tensor([3, 10]))], classifier=judge)
