"""gantlet explore, train --from and --truncation as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gantlet.cli.app import run
from gantlet.metrics import EvaluationReport


def gantlet(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    status = run([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("explored") / "r"
    small = ("G.width=4", "D.width=4", "G.z=6", "batch=8", "--steps", "2", "--device", "cpu", "--out", str(out))
    assert run(["train", "r1gan", *small]) == 0
    return out


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        (("interpolate", "-n", 3, "--frames", 4), (5, 2)),  # a leg a row, both ends in each
        (("interpolate", "--seeds", "3,5", "--frames", 2, "--loop", "--truncation", 0.8), (2, 2)),
        (("directions", "-k", 2, "--frames", 3), (3, 2)),
        (("directions", "--method", "ganspace", "-k", 1, "--frames", 3), (3, 1)),
        (("truncation", "--values", "0.5,1", "-n", 3), (2, 3)),
        (("invert", "digits#test", "-n", 2, "--steps", 3, "--restarts", 2), (2, 2)),
    ],
)
def test_every_tool_draws(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, trained: Path, arguments: tuple[Any, ...], size: tuple[int, int]
) -> None:
    status, out, err = gantlet(capsys, "explore", trained, *arguments, "--out", tmp_path / "x.png")
    assert status == 0, err
    assert out.splitlines()[-1] == str(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        tile = 32 + 2
        assert picture.size == (size[0] * tile - 2, size[1] * tile - 2)


def test_an_animation_is_a_gif(capsys: pytest.CaptureFixture[str], tmp_path: Path, trained: Path) -> None:
    gantlet(capsys, "explore", trained, "interpolate", "-n", 2, "--frames", 5, "--loop", "--out", tmp_path / "x.gif")
    with Image.open(tmp_path / "x.gif") as film:
        assert film.n_frames == 10


def test_numbers_come_as_json(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, out, _ = gantlet(capsys, "explore", trained, "directions", "-k", 2, "--json")
    said = json.loads(out)
    assert len(said["vectors"]) == 2 and len(said["vectors"][0]) == 6 and Path(said["picture"]).is_file()
    _, out, _ = gantlet(capsys, "explore", trained, "invert", "digits", "-n", 2, "--steps", 2, "--json")
    said = json.loads(out)
    assert len(said["psnr"]) == 2 and len(said["codes"][0]) == 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("mix",), ["mapping and a synthesis"]),
        (("classes",), ["knows no classes"]),
        (("traverse",), ["codes"]),
        (("interpolate", "--space", "w"), ["mapping and a synthesis"]),
        (("interpolate", "--seeds", "1,b"), ["--seeds 1,b"]),
        (("interpolate", "--class", "3"), ["no classes"]),
        (("interpolate", "--truncation", "0"), ["above 0"]),
        (("interpolate", "--out", "x.jpg"), [".gif"]),
        (("directions", "--method", "sefaa"), ["did you mean 'sefa'"]),
        (("invert", "nowhere"), ["nowhere"]),
        (("invert", "digits", "--features", "lenett"), ["lenett"]),
        (("sideways",), ["no tool named 'sideways'", "gantlet explore RUN TOOL", "interpolate, mix"]),
        ((), ["name a tool", "interpolate, mix, invert"]),
        (("--frames", 3), ["options come after the tool"]),
        (("interpolate", "--seeds", "3"), ["seeds=3", "at least two"]),
        (("interpolate", "--frams", 3), ["explore RUN interpolate --help"]),
        (("directions", "--with", "no_such_module"), ["no_such_module"]),
        (("mix", "--device", "tpu"), ["tpu"]),
    ],
)
def test_wrong_input_is_status_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[Any, ...], words: list[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    status, out, err = gantlet(capsys, "explore", trained, *arguments)
    assert status == 2, (out, err)
    assert "Traceback" not in err and all(word in err for word in words), err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ["name a run and a tool", "gantlet explore RUN TOOL", "traverse"]),
        (("interpolate",), ["the run comes first"]),
        (("interpolate", "--seed", 3), ["the run comes first"]),
        (("nowhere", "mix", "--out", "x.jpg"), [".gif"]),  # said before the model is looked for
    ],
)
def test_a_run_and_a_tool_are_wanted(
    capsys: pytest.CaptureFixture[str], arguments: tuple[Any, ...], words: list[str]
) -> None:
    status, _, err = gantlet(capsys, "explore", *arguments)
    assert status == 2 and all(word in err for word in words), err


def test_one_image_file_is_inverted(capsys: pytest.CaptureFixture[str], tmp_path: Path, trained: Path) -> None:
    """As a data set of it would be: resized, in the model's channels."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 12, 3), dtype=np.uint8)
    for i in range(2):
        (tmp_path / "set").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "set" / f"{i}.png")
    codes = []
    for source in (tmp_path / "set" / "0.png", tmp_path / "set"):
        asked = ("invert", source, "-n", 1, "--steps", 2, "--json", "--out", tmp_path / "x.png")
        status, out, err = gantlet(capsys, "explore", trained, *asked)
        assert status == 0, err
        codes.append(json.loads(out.splitlines()[-1])["codes"])
    assert codes[0] == codes[1] and len(codes[0]) == 1
    (tmp_path / "broken.png").write_bytes(b"no image")
    status, _, err = gantlet(capsys, "explore", trained, "invert", tmp_path / "broken.png")
    assert status == 2 and "cannot be read" in err


def test_directions_are_as_many_as_there_are(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gantlet.cli.explore.DRAWN", 2)
    asked = ("directions", "-k", 50, "--frames", 3, "--out", tmp_path / "x.png", "--json")
    status, out, err = gantlet(capsys, "explore", trained, *asked)
    assert status == 0 and "there are 6 directions" in err and "the first 2" in err
    assert len(json.loads(out)["vectors"]) == 6
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.height == 2 * 34 - 2


def test_samples_and_scores_are_truncated(capsys: pytest.CaptureFixture[str], tmp_path: Path, trained: Path) -> None:
    for name, more in (("a", ()), ("b", ("--truncation", "0.3"))):
        assert gantlet(capsys, "sample", trained, "-n", 20, "--out", tmp_path / f"{name}.npy", *more)[0] == 0
    a, b = (torch.from_numpy(np.load(tmp_path / f"{name}.npy")) for name in "ab")
    assert float(b.std(0).mean()) < float(a.std(0).mean())
    judged = ("evaluate", trained, "--features", "raw", "--metrics", "fd", "-n", 40, "--seeds", 2, "--json")
    report = json.loads(gantlet(capsys, *judged, "--truncation", "0.3")[1])
    assert report["protocol"]["fake"]["truncation"] == 0.3, "not to be compared with the whole"
    assert "truncated at 0.3" in EvaluationReport.from_json(report).lines()[0]
    status, _, err = gantlet(capsys, "evaluate", "digits", "--data", "digits", "--truncation", "0.3")
    assert status == 2 and "no latents" in err


def test_training_starts_from_a_run(capsys: pytest.CaptureFixture[str], tmp_path: Path, trained: Path) -> None:
    small = ("G.width=4", "D.width=4", "G.z=6", "batch=8", "--steps", "1", "--device", "cpu")
    status, out, err = gantlet(capsys, "train", "r1gan", *small, "--from", trained, "--out", tmp_path / "b")
    assert status == 0, err
    assert "100 % of G" in out + err
    status, _, err = gantlet(capsys, "train", tmp_path / "b", "--resume", "--from", trained)
    assert status == 2 and "--from" in err
