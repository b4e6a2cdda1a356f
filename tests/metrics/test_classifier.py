"""The classifier: it learns, it repeats, it survives a save."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from digit_rows import Digits

from gantlet.core.errors import InputError, StateError
from gantlet.metrics import Classifier, LeNet, train_classifier
from gantlet.metrics.features import build
from gantlet.metrics.learn import accuracy, one_cycle, shifted


def test_it_learns_the_digits(judge: Classifier, digits: Digits) -> None:
    assert judge.accuracy is not None and judge.accuracy > 0.95
    assert judge.accuracy == accuracy(judge, digits.pick(slice(0, None, 5)), batch=50)
    assert judge.card.tested_on == 360 and judge.card.trained_on == 1437


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 9), (2, 28, 28), (4, 33, 20), (3, 64, 64)])
def test_any_small_image(shape: tuple[int, int, int]) -> None:
    net = LeNet(shape, 7)
    x = torch.randn(2, *shape)
    assert net(x).shape == (2, 7) and net.features(x).shape == (2, 128)


def test_the_same_seed_gives_the_same_weights_and_leaves_randomness_alone(digits: Digits) -> None:
    few = digits.cut(0, 300)
    before = torch.random.get_rng_state()
    one = train_classifier(few, epochs=1, width=4, hidden=16)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    two = train_classifier(few, epochs=1, width=4, hidden=16)
    other = train_classifier(few, epochs=1, width=4, hidden=16, seed=1)
    assert one.hash == two.hash != other.hash


def test_save_and_load_are_the_identity(judge: Classifier, digits: Digits, tmp_path: Path) -> None:
    back = Classifier.load(judge.save(tmp_path / "judge"))
    x = digits.x[:20]
    assert torch.equal(back.logits(x), judge.logits(x)) and torch.equal(back.features(x), judge.features(x))
    assert back.hash == judge.hash and back.card == judge.card
    card = json.loads((tmp_path / "judge" / "classifier.json").read_text())
    assert card["hash"] == judge.hash and card["accuracy"] == judge.accuracy
    named = build({"use": "lenet", "path": str(tmp_path / "judge")}, lambda: digits.spec)
    assert named.hash == judge.hash and named.name == "LeNet"


def test_damage_is_noticed(judge: Classifier, tmp_path: Path) -> None:
    good = judge.save(tmp_path / "good")
    with pytest.raises(InputError, match="no classifier"):
        Classifier.load(tmp_path / "none")
    card = json.loads((good / "classifier.json").read_text())
    spoilt = {"hash": "0" * 64, "width": 7, "surprise": 1}
    for i, (key, value) in enumerate(spoilt.items()):
        bad = Path(shutil.copytree(good, tmp_path / f"bad{i}"))
        (bad / "classifier.json").write_text(json.dumps(card | {key: value}))
        with pytest.raises(StateError, match="damaged"):
            Classifier.load(bad)
    (good / "classifier.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(StateError, match="damaged"):
        Classifier.load(good)
    (good / "classifier.json").write_text(json.dumps(card | {"version": 99}))
    with pytest.raises(InputError, match="another version"):
        Classifier.load(good)


def test_features_are_of_the_penultimate_layer_at_any_size(judge: Classifier) -> None:
    f = judge.features
    assert (f.name, f.dimension, f.size, f.channels) == ("LeNet", 128, (8, 8), 1)
    y = f(torch.rand(3, 3, 20, 16) * 2 - 1)
    assert y.shape == (3, 128) and bool((y >= 0).all())
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(judge.net.head(f(x)), judge.logits(x))


def test_one_cycle() -> None:
    assert one_cycle(0.1) == 0.5 and one_cycle(0.2) == 1 and one_cycle(1) == pytest.approx(0)


def test_shifts_move_and_repeat_the_border() -> None:
    x = torch.arange(36.0).view(1, 1, 6, 6).repeat(200, 1, 1, 1)
    y = shifted(x, 1, key=(0,))
    assert torch.equal(y, shifted(x, 1, key=(0,))) and torch.equal(shifted(x, 0, key=(0,)), x)
    middle = y[:, 0, 2, 2] - 14  # 6 dy + dx
    assert sorted(set(middle.tolist())) == [-7, -6, -5, -1, 0, 1, 5, 6, 7]
    up = y[middle == -6][0, 0]
    assert torch.equal(up[1:], x[0, 0, :-1]) and torch.equal(up[0], x[0, 0, 0])
    two = torch.cat([x[:, :, :4], -x[:, :, :4]], 1)
    moved = shifted(two, 1, key=(1,))
    assert torch.equal(moved[:, 0], -moved[:, 1])  # channels move together


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (Digits(torch.zeros(9, 2), torch.zeros(9).long()), "of images"),
        (Digits(torch.zeros(9, 1, 4, 4), torch.zeros(9).long()), "8 to 256 pixels"),
        (Digits(torch.zeros(9, 1, 8, 8), None, 0), "at least 2 classes"),
        (Digits(torch.zeros(9, 1, 8, 8), None), "no label"),
        (Digits(torch.zeros(9, 1, 8, 8), torch.full((9,), -1)), "no label"),
        (Digits(torch.zeros(1, 1, 8, 8), torch.zeros(1).long()), "at least 2 samples"),
    ],
)
def test_what_cannot_be_learnt(data: Digits, says: str) -> None:
    with pytest.raises(InputError, match=says):
        train_classifier(data, epochs=1)
