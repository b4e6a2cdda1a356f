"""Runs on points: what `gantlet data`, training and `gantlet sample` draw and say of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gantlet
from gantlet.cli.app import run as command
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.data.scatter import BELOW, LEFT
from gantlet.runs.behind import behind
from gantlet.runs.samples import options_for, write

TINY = ("G.hidden=[8]", "D.hidden=[8]", "G.z=4", "batch=8", "sample_every=2", "save_every=0")


def spoken(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What a command that succeeds prints."""
    status = command([str(word) for word in words])
    out, err = capsys.readouterr()
    assert status == 0, err
    return out


def begun(folder: Path, data: str | Path) -> Path:
    return gantlet.train("mlp", *TINY, data=data, out=folder, steps=4, device="cpu").path


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return begun(tmp_path_factory.mktemp("ring") / "run", "toy:ring")


@pytest.fixture
def cloud(tmp_path: Path) -> Path:
    """A file of points of three numbers."""
    np.save(tmp_path / "pts.npy", np.random.default_rng(0).normal(size=(400, 3)))
    return tmp_path / "pts.npy"


def picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def axes(path: Path) -> bytes:
    """What stands left of the panels and below them."""
    drawn = picture(path)
    return drawn[:, : LEFT - 4].tobytes() + drawn[4 - BELOW :].tobytes()


def blue(path: Path) -> int:
    drawn = picture(path)
    return int((drawn[..., 2] - drawn[..., 0] > 40).sum())


def test_as_many_points_as_were_asked_for(ring: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inked = []
    for n in (1, 64, 4000):
        spoken(capsys, "sample", ring, "-n", n, "--out", tmp_path / f"{n}.png")
        inked.append(blue(tmp_path / f"{n}.png"))
    assert inked[0] < inked[1] < inked[2]


def test_all_pictures_of_a_run_have_the_axes_of_its_data(ring: Path, tmp_path: Path) -> None:
    model = gantlet.load(ring)
    write(model, n=20, seed=3, out=tmp_path / "a.png", view=behind(model, ring))
    write(model, n=20, seed=3, out=tmp_path / "b.png", view=behind(model, ring / "model"))
    found = {axes(path) for path in [*sorted((ring / "samples").iterdir()), tmp_path / "a.png", tmp_path / "b.png"]}
    assert len(list((ring / "samples").iterdir())) == 2 and len(found) == 1


def test_the_data_is_behind_while_it_is_what_it_was(tmp_path: Path, cloud: Path) -> None:
    """Gone or changed, its range remains, which the model says."""
    run = begun(tmp_path / "run", cloud)
    model = gantlet.load(run)
    whole = behind(model, run)
    assert whole is not None and whole.reals is not None and len(whole.reals) == 336
    np.save(cloud, np.random.default_rng(1).normal(size=(400, 3)))
    changed = behind(model, run)
    cloud.unlink()
    for view in (changed, behind(model, run), behind(model, run / "model")):
        assert view is not None and view.reals is None
        assert (view.low, view.high) == (whole.low, whole.high)
    assert behind(gantlet.load(run), tmp_path) is not None


def test_images_have_no_axes(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", "digits")
    model = gantlet.load(run)
    assert behind(model, run) is None and "axes" not in model.config


def test_points_of_three_numbers_from_first_to_last(
    tmp_path: Path, cloud: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is printed to be typed next can be typed."""
    monkeypatch.chdir(tmp_path)
    said = spoken(capsys, "data", cloud)
    assert "`gantlet train auto` would choose:\n  points of 3 numbers" in said
    assert (tmp_path / "contact-sheet.png").is_file()
    said = spoken(capsys, "train", "mlp", *TINY, "--data", cloud, "--out", "r", "--steps", 2, "--device", "cpu")
    (way,) = re.findall(r"^next: gantlet (.*)$", said, re.M)
    assert way == "sample r -n 5000 --out points.png"
    spoken(capsys, *way.split())
    assert (tmp_path / "points.png").is_file()
    assert json.loads(Path("r/model/config.json").read_text())["axes"].keys() == {"low", "high"}


def test_what_has_no_picture_is_sampled_as_numbers() -> None:
    assert options_for(Spec((3, 8, 8))) == "-n 64 --out grid.png"
    for shape in ((5, 8, 8), (2, 8), (3, 8, 8, 8)):
        assert options_for(Spec(shape)).endswith(".npy")


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    """Samples of two calls are not mixed, and nothing is deleted."""
    model = gantlet.load(begun(tmp_path / "run", "digits"))
    out = tmp_path / "made"
    out.mkdir()
    (out / ".hidden").touch()
    write(model, n=8, seed=0, out=out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(InputError, match=r"made: the folder is not empty \(8 in it\).*a new folder"):
        write(model, n=3, seed=1, out=out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    with pytest.raises(InputError, match="this is a file"):
        write(model, n=3, seed=1, out=out / ".hidden")
