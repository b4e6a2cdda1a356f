"""The classifier of a data set's own classes (`--features self`): trained once, kept in the cache by fingerprint."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch

from gantlet.core.errors import StateError
from gantlet.data.cache import cache_folder
from gantlet.data.containers import digest
from gantlet.data.dataset import Dataset
from gantlet.metrics.classify import VERSION, Classifier
from gantlet.metrics.learn import train_classifier

STEPS, EPOCHS = 600, 3  # at least so many, whichever is more: small sets need many rounds, large ones few
BATCH = 128
SIDES = (8, 256)  # pixels that a LeNet is for


def can_judge(dataset: Dataset) -> bool:
    """Images that all have a label, of at least two classes, of a size a LeNet is for."""
    shape = dataset.spec.shape
    labels = dataset.labels_of(torch.arange(len(dataset))) if dataset.spec.classes > 1 else None
    return (
        labels is not None
        and bool((labels >= 0).all())
        and len(shape) == 3
        and SIDES[0] <= min(shape[1:])
        and max(shape[1:]) <= SIDES[1]
        and len(dataset) >= 10 * dataset.spec.classes
    )


def judge_of(train: Dataset, test: Dataset | None, say: Callable[[str], None]) -> Classifier:
    """A LeNet trained on the training split, its accuracy that on the test split; from the cache where it is known."""
    place = _place(train)
    if (place / "classifier.json").is_file():
        try:
            return Classifier.load(place)
        except StateError as error:
            say(f"{error}; it is trained again")
    epochs = max(EPOCHS, math.ceil(STEPS * BATCH / len(train)))
    say(f"training the classifier of {train.name}'s own classes ({epochs} epochs of {len(train):,})")
    judge = train_classifier(train, test=test, epochs=epochs, batch=BATCH)
    judge.save(place)
    return judge


def _place(train: Dataset) -> Path:
    key = digest("judge", VERSION, STEPS, EPOCHS, BATCH, train.fingerprint, train.split, train.spec.shape)
    return cache_folder() / "classifiers" / key
