"""Models that are told the class: trained from folders and tables, sampled and shown by class, evaluated with classes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import gantlet
from gantlet.cli.app import run as command
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.data import open_source
from gantlet.games.classic import Classic
from gantlet.runs import samples
from gantlet.runs.model import Model
from gantlet.runs.samples import draw, folders_of, write

NAMES = ("cat", "dog", "owl")
TINY = ("G.hidden=[8]", "G.z=4", "D.hidden=[6]", "batch=8", "sample_every=0", "save_every=0", "samples=9")


def pictures(folder: Path, *, table: bool) -> Path:
    """Thirty pictures 8 x 8 of three kinds, each of its own grey, in folders of classes or under a labels.csv."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(60):
        kind = NAMES[i % 3]
        name = f"{i:03d}.png" if table else f"{kind}/{i:03d}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 40, (8, 8)) + 90 * (i % 3)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
        rows.append((name, kind))
    if table:
        with (folder / "labels.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("file", "label"), *rows])
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `cgan` on class folders."""
    place = tmp_path_factory.mktemp("told")
    data = pictures(place / "data", table=False)
    return gantlet.train("cgan", *TINY, data=data, out=place / "run", steps=3, device="cpu").path


def test_it_trains_from_class_folders_and_from_a_table(trained: Path, tmp_path: Path) -> None:
    """The same pictures with the same labels: the same weights, the same names."""
    data = pictures(tmp_path / "data", table=True)
    other = gantlet.train("cgan", *TINY, data=data, out=tmp_path / "run", steps=3, device="cpu")
    a, b = gantlet.load(trained), gantlet.load(other.path)
    assert a.class_names == b.class_names == NAMES
    assert a.sample(6).shape == b.sample(6).shape == (6, 1, 8, 8)


def test_a_sample_follows_from_its_number_and_its_class(trained: Path) -> None:
    model = gantlet.load(trained)
    x = model.sample(7, seed=3, classes=["owl", 0])
    assert torch.allclose(model.sample(3, seed=3, first=2, classes=["owl", "cat"]), x[2:5], atol=1e-5)
    assert torch.allclose(model.sample(7, seed=3, classes=torch.tensor([2, 0, 2, 0, 2, 0, 2])), x, atol=1e-6)
    assert torch.allclose(model.sample(7, seed=3, classes="owl")[::2], x[::2], atol=1e-6)
    assert not torch.allclose(model.sample(7, seed=3, classes="2")[1], x[1], atol=1e-3)
    (plain,) = model.batches(50, seed=1)
    assert torch.equal(plain.y, model.game.classes_of(model.game.latent(50, seed=1)))
    assert set(plain.y.tolist()) == {0, 1, 2}
    assert torch.allclose(model.sample(50, seed=1, classes=plain.y), plain.x, atol=1e-6)


@pytest.mark.parametrize(
    ("asked", "said"),
    [("own", "class own: there are 3, 0 to 2; did you mean 'owl'"), (3, "class 3: there are 3"), ([], "name at least one"),
     (-1, "class -1: there are 3"), ([True], "class True: a class is a whole number or a name"), (1.5, r"class 1\.5: a"),
     (torch.tensor([0.0, 1.0]), r"class 0\.0: a"), ([[1, 2]], r"class \[1, 2\]: a"), ([None], "class None")],
)  # fmt: skip
def test_a_class_that_is_none_is_refused(trained: Path, asked: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        gantlet.load(trained).sample(2, classes=asked)


def test_numbers_come_in_any_whole_kind(trained: Path) -> None:
    model = gantlet.load(trained)
    kinds = (2, "2", np.int64(2), np.array([2]), torch.tensor(2), torch.tensor([[2]], dtype=torch.uint8), range(2, 3))
    assert [model.numbers_of(kind) for kind in kinds] == [[2]] * len(kinds)


def test_a_model_that_knows_no_classes_says_so(tmp_path: Path) -> None:
    run = gantlet.train("mlp", *TINY, data=pictures(tmp_path / "data", table=False), out=tmp_path / "run", steps=1)
    model = gantlet.load(run.path)
    assert model.class_names == ()
    with pytest.raises(InputError, match=r"this model knows no classes: .*conditional=false"):
        model.sample(2, classes="cat")
    with pytest.raises(InputError, match=r"--labels: this model knows no classes"):
        write(model, n=2, seed=0, out=tmp_path / "out", labels=True)
    write(model, n=2, seed=0, out=tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["000000.png", "000001.png"]


def test_folders_are_data_again(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """gantlet sample --class dog --class owl --out folder/ --labels: a folder a class, read back with the same labels."""
    out = tmp_path / "out"
    asked = ["sample", str(trained), "-n", "5", "--class", "dog", "--class", "2", "--out", str(out), "--labels"]
    assert command(asked) == 0
    assert "(5 images)" in capsys.readouterr().out
    found = sorted(str(p.relative_to(out)) for p in out.rglob("*.png"))
    assert found == ["dog/000000.png", "dog/000002.png", "dog/000004.png", "owl/000001.png", "owl/000003.png"]
    rows = list(csv.reader((out / "labels.csv").read_text().splitlines()))
    assert rows[0] == ["file", "label"]
    assert rows[1] == ["dog/000000.png", "dog"]
    again = open_source(out, split="all")
    assert again.class_names == ("dog", "owl")
    assert again.labels_array().bincount().tolist() == [3, 2]
    x = gantlet.load(trained).sample(5, classes=["dog", "owl"])
    first = torch.from_numpy(np.array(Image.open(out / "owl/000001.png"))).float() / 127.5 - 1
    assert torch.allclose(first, x[1, 0], atol=1 / 127)


def test_one_file_has_no_labels(trained: Path, tmp_path: Path) -> None:
    model = gantlet.load(trained)
    for name in ("grid.png", "all.npy"):
        with pytest.raises(InputError, match=r"--labels: --out .* is one file; give a folder"):
            write(model, n=4, seed=0, out=tmp_path / name, labels=True)
    write(model, n=4, seed=2, out=tmp_path / "all.npy", classes="dog")
    assert np.array_equal(np.load(tmp_path / "all.npy"), model.sample(4, seed=2, classes="dog").numpy())


def test_class_names_are_safe_folder_names() -> None:
    assert folders_of(["red fox", "0", "n01.b-c"]) == ["red fox", "0", "n01.b-c"]
    assert folders_of(["a/b", "..", "a_b"]) == ["0-a_b", "1-", "2-a_b"]
    assert folders_of(["../../up", "Up"]) == ["_.._up", "Up"]
    assert folders_of(["A", "a"]) == ["0-A", "1-a"]  # one folder, where case does not count


# ---- grids --------------------------------------------------------------------------------------------------------


class Paints(nn.Module):
    """G(z, y): a picture all of which is y / 100."""

    z_dim = 2

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return self.scale * (y / 100).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)


class Hears(nn.Module):
    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.rows = nn.Embedding(spec.classes, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x.flatten(1).sum(1) + self.rows(y).squeeze(1)


def shown(monkeypatch: pytest.MonkeyPatch, classes: int, n: int, asked: list[int] | None = None) -> tuple[Tensor, int]:
    """The class of each place of a grid, and its columns."""
    seen: list[tuple[Tensor, int]] = []
    monkeypatch.setattr(samples, "save_picture", lambda x, path, cols, view: seen.append((x, cols)))
    draw(Classic(Spec((1, 4, 4), classes=classes), G=Paints, D=Hears, conditional=True), Path("no.png"), n=n, seed=0,
         classes=asked)  # fmt: skip
    ((x, cols),) = seen
    return (x[:, 0, 0, 0] * 100).round().long(), cols


@pytest.mark.parametrize(("classes", "n", "columns"), [(3, 64, 9), (10, 64, 10), (16, 100, 16), (2, 4, 2), (10, 4, 10)])
def test_a_column_is_of_one_class(monkeypatch: pytest.MonkeyPatch, classes: int, n: int, columns: int) -> None:
    y, cols = shown(monkeypatch, classes, n)
    assert cols == columns
    assert torch.equal(y, torch.arange(n) % classes)
    assert cols % classes == 0


def test_of_many_classes_a_row_is_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    y, cols = shown(monkeypatch, 40, 64)
    assert cols == 8
    assert torch.equal(y.view(8, 8), torch.arange(8).view(8, 1).expand(8, 8))


def test_a_grid_of_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    y, cols = shown(monkeypatch, 10, 16, asked=[7])
    assert (y.unique().tolist(), cols) == ([7], 4)
    y, cols = shown(monkeypatch, 10, 16, asked=[7, 1])
    assert (y[:2].tolist(), cols) == ([7, 1], 4)


# ---- evaluation ---------------------------------------------------------------------------------------------------


def test_a_run_is_evaluated_with_its_classes(trained: Path) -> None:
    """per-class-fd and accuracy-score read what each fake was asked to be."""
    metrics = {"per-class-fd": {}, "accuracy-score": {"epochs": 1}}
    report = gantlet.evaluate(trained, metrics=metrics, n=60, seeds=1, features="raw", intervals=False)
    names = {score.key for score in report.scores}
    assert {"per_class_fd", "accuracy_score"} <= names


def test_classes_are_matched_by_name(trained: Path, tmp_path: Path) -> None:
    """The reals' numbers are not the model's: dog and owl alone are 0 and 1; a class they have not is said."""
    from gantlet.runs.evaluation import _numbers_in

    model, said = gantlet.load(trained), list[str]()
    whole = open_source(pictures(tmp_path / "data", table=False), split="train")
    assert _numbers_in(model, whole, said.append).tolist() == [0, 1, 2]
    renamed = Model(model.game, model.spec, model.config | {"class_names": ["owl", "cat", "dog"]})
    assert _numbers_in(renamed, whole, said.append).tolist() == [2, 0, 1]
    alien = Model(model.game, model.spec, model.config | {"class_names": ["owl", "cat", "bee"]})
    assert said == []
    assert _numbers_in(alien, whole, said.append) is None
    assert "'bee' is none of" in said[0]
    unnamed = Model(model.game, model.spec, {k: v for k, v in model.config.items() if k != "class_names"})
    assert _numbers_in(unnamed, whole, said.append).tolist() == [0, 1, 2]
