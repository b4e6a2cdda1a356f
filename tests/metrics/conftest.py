"""What the tests of metrics share: the 8 x 8 digits, and one classifier trained on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from digit_rows import Digits

import gantlet
from gantlet.metrics import Classifier, train_classifier

DIGITS = Path(gantlet.__file__).parent / "data" / "digits.npz"


@pytest.fixture(scope="session")
def digits() -> Digits:
    with np.load(DIGITS) as z:
        x, y = torch.from_numpy(z["images"]), torch.from_numpy(z["labels"])
    return Digits(x.float().unsqueeze(1) / 127.5 - 1, y.long())


@pytest.fixture(scope="session")
def judge(digits: Digits) -> Classifier:
    """Trained on four fifths of the digits, tested on every fifth."""
    fifth = torch.arange(len(digits)) % 5 == 0
    return train_classifier(digits.pick(~fifth), test=digits.pick(fifth), epochs=10)
