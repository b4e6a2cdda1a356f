"""bench zoo, very short: what is measured, kept, written and shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import gantlet.recipes  # noqa: F401 (importing registers)
import zoo
import zoo_page
from cells import Cells
from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.data import open_source, to_uint
from gantlet.recipes.measured import measured
from zoo_entries import ENTRIES


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The digits in the place of MNIST, their thumbnails in the place of a network's features."""
    digits = open_source("digits")
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    x = to_uint(digits.rows(torch.arange(400)).x).permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "data" / "mnist" / "digits.npz", x=x)
    monkeypatch.setattr(zoo, "FEATURES", "thumbnail")
    for name, value in {"SAMPLES": 130, "FEW": 64, "REFERENCE": 130, "MINUTES": 0.02}.items():
        monkeypatch.setattr(zoo, name, value)
    return tmp_path / "data"


def test_a_cell_is_measured_once_kept_and_shown(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(zoo.SETS, "mnist", zoo.Set("mnist/digits.npz"))
    said: list[str] = []
    table = zoo.measure(data=str(images), cell=["mnist/mlp"], say=said.append)
    (cell,) = table["cells"]
    assert cell["label"] == "mnist/mlp"
    assert cell["steps"] >= 20
    assert all(np.isfinite(cell[k]) for k in ("kd", "fd", "precision", "recall", "untrained", "mean image", "floor"))
    assert cell["weights"].keys() == {"D", "G"}
    again: list[str] = []
    assert zoo.measure(data=str(images), cell=["mlp"], say=again.append) == table
    assert not again
    monkeypatch.setattr(zoo_page.gantlet, "__file__", str(tmp_path / "package" / "__init__.py"))
    (tmp_path / "package" / "recipes").mkdir(parents=True)
    page, scores = zoo.write(table, tmp_path / "zoo.md")
    assert "| `mlp`" in page.read_text()
    assert (tmp_path / "images" / "zoo" / "mnist-mlp.png").is_file()
    assert json.loads(scores.read_text())["mlp"]["set"] == "mnist"


def test_a_cell_that_diverges_is_said_and_the_others_go_on(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(zoo.SETS, "mnist", zoo.Set("mnist/digits.npz"))
    bad = zoo.Entry("mnist", ("players.G.lr=1e30", "players.D.lr=1e30", "log_every=1"))
    monkeypatch.setitem(zoo.ENTRIES, "wgan-gp", bad)
    table = zoo.measure(data=str(images), cell=["mnist/wgan-gp", "mnist/mlp"], say=lambda text: None)
    assert [("failed" in c, c["name"]) for c in table["cells"]] == [(False, "mlp"), (True, "wgan-gp")]
    assert "became NaN or infinite" in zoo.text(table)
    monkeypatch.setitem(zoo.ENTRIES, "mlp", zoo.Entry("mnist", ("batch=32",)))
    assert [c["name"] for c in zoo.measure(data=str(images), cell=["wgan-gp"])["cells"]] == ["wgan-gp"]  # no stale cell


def test_what_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--cell mnist/dcgna: no such cell; did you mean 'mnist' or 'dcgan'"):
        zoo.measure(data=str(tmp_path), cell=["mnist/dcgna"])
    with pytest.raises(
        InputError, match=r"--cell cifar: no recipe is measured there by itself; name some: cifar/dcgan"
    ):
        zoo.measure(data=str(tmp_path), cell=["cifar"])
    with pytest.raises(InputError, match=r"mnist is not there"):
        zoo.measure(data=str(tmp_path), cell=["mlp"])
    with pytest.raises(InputError, match=r"--data FOLDER with mnist, eurosat_rgb, cifar10_jpeg$"):
        zoo.measure()


def test_every_recipe_has_its_place_in_the_zoo() -> None:
    """`auto` is another one each time."""
    assert set(ENTRIES) == set(registry.recipe.parts) - {"auto"}
    assert set(measured()) <= set(ENTRIES)
    assert all(entry.set in zoo.SETS for entry in ENTRIES.values())


def test_an_option_that_is_new_and_off_makes_no_stranger_of_a_kept_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANTLET_CACHE", str(tmp_path))
    kept = Cells("zoo")
    place = kept.place({"label": "a/b", "recipe": {"players": {"D": {"lr": 1.0}}}})
    assert kept.place({"label": "a/b", "recipe": {"players": {"D": {"lr": 1.0, "max_norm": None}}}}) == place
    assert kept.place({"label": "a/b", "recipe": {"players": {"D": {"lr": 1.0, "max_norm": 0.0}}}}) != place
