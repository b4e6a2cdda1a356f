"""`gantlet evaluate`: runs, models and folders judged; and everything that can be wrong with them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import gantlet
from gantlet.cli.app import run as command
from gantlet.core.errors import InputError
from gantlet.metrics import EvaluationReport
from gantlet.runs.evaluation import Evaluation, Wanted

SMALL = ("G.width=4", "D.width=4", "G.z=8", "batch=8", "log_every=4", "sample_every=2", "save_every=0", "samples=4")
FEW = {"n": 260, "seeds": 3, "metrics": ["fd", "classes"]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "r"
    gantlet.train("r1gan", *SMALL, data="digits", out=out, device="cpu", steps=6)
    return out


@pytest.fixture(autouse=True)
def cached(tmp_path_factory, monkeypatch):
    """One cache for the module: the judge is trained once."""
    monkeypatch.setenv("GANTLET_CACHE", str(tmp_path_factory.getbasetemp() / "evaluation-cache"))
    monkeypatch.delenv("GANTLET_WEIGHTS", raising=False)


def pictures(folder, x):
    folder.mkdir(parents=True)
    for i, image in enumerate(((x + 1) * 127.5).round().byte().numpy()):
        Image.fromarray(image[0] if len(image) == 1 else np.moveaxis(image, 0, 2)).save(folder / f"{i:04d}.png")
    return folder


def digits(first, stop):
    from gantlet.data import open_source

    return open_source("digits", split="all").rows(torch.arange(first, stop)).x


def test_a_run_is_judged_by_its_own_data(trained):
    report = gantlet.evaluate(trained, **FEW)
    assert report.subject["real"] == "digits" and report.protocol["real"]["count"] == 1707
    assert report.protocol["fake"] == {
        "count": 260, "weights": "averaged", "seeds": [0, 1, 2], "truncation": None, "stored": "8 bits"
    }  # fmt: skip
    assert report.protocol["held_out"]["count"] == 90 and report.protocol["features"]["name"] == "LeNet"
    fd = report.score("fd")
    assert fd.interval.how == "seeds" and fd.floor is None  # 90 are too few for 128 dimensions
    kl = report.score("kl")
    assert kl.floor_count == 90 and kl.floor is not None and kl.at_floor_count is not None
    assert (trained / "judge" / "classifier.json").is_file()
    assert gantlet.evaluate(trained, **FEW).to_json() == report.to_json()  # bit for bit
    assert gantlet.evaluate("digits", gantlet.load(trained), **FEW).score("fd").value == fd.value


def test_the_real_features_are_computed_once_and_kept(trained, monkeypatch):
    gantlet.evaluate(trained, **FEW)
    from gantlet.metrics import features

    counted = []
    was = features.Features.__call__
    monkeypatch.setattr(features.Features, "__call__", lambda self, x: counted.append(len(x)) or was(self, x))
    gantlet.evaluate(trained, n=260, seeds=2, metrics=["fd"])
    assert sum(counted) == 2 * 260  # fakes only: the reference's and the held-out set's are on disk


def test_what_is_held_out_is_not_in_the_reference(trained, tmp_path):
    """Of `#all` nothing is; and a few pictures against more held-out reals are compared with as few of those."""
    assert gantlet.evaluate("digits#all", trained, **FEW).protocol["held_out"] is None
    few = pictures(tmp_path / "few", digits(0, 60))
    score = gantlet.evaluate("digits", str(few), metrics=["kd"], features="thumbnail").score("kd")
    assert (score.count, score.floor_count, score.at_floor_count) == (60, 60, None)


def test_pairs_are_of_all_rows_in_their_order(tmp_path):
    clean = digits(0, 90)
    real, fake = pictures(tmp_path / "real", clean), pictures(tmp_path / "fake", clean * 0.9)
    report = gantlet.evaluate(
        str(real), str(fake), metrics={"psnr": "psnr", "ssim": {"use": "ssim", "window": "uniform"}}
    )
    assert report.score("psnr").count == 90 and report.score("psnr").value > 20 and report.score("ssim").value > 0.9


def test_classes_are_matched_by_name(tmp_path):
    from gantlet.data import open_source

    rows = open_source("digits", split="all").rows(torch.arange(600))
    for side, names in {"real": "abc", "fake": "cab"}.items():  # written in another order, read in alphabetical order
        for name in sorted(names[1:] if side == "fake" else names):
            pictures(tmp_path / side / name, rows.x[rows.y == "abc".index(name)])
    report = gantlet.evaluate(str(tmp_path / "real"), str(tmp_path / "fake"), metrics={"it": {"use": "per-class-fd"}},
                              features="thumbnail", intervals=False)  # fmt: skip
    assert report["it"]["left_out"] == [2]  # c is missing, a and b are compared with themselves
    assert max(value for value in report["it"]["by_class"].values()) < 1
    (tmp_path / "fake" / "a").rename(tmp_path / "fake" / "z")
    with pytest.raises(InputError, match="a class 'z' that"):
        gantlet.evaluate(str(tmp_path / "real"), str(tmp_path / "fake"), metrics=["fd"], features="thumbnail")


def test_one_metric_that_refuses_leaves_the_others(tmp_path):
    real, fake = pictures(tmp_path / "real", digits(0, 100)), pictures(tmp_path / "fake", digits(100, 103))
    report = gantlet.evaluate(str(real), str(fake), metrics=["kd", "precision-recall"], features="thumbnail")
    assert report.score("kd").value is not None
    assert report.score("precision").value is None and "3 nearest neighbours need" in report.score("precision").note
    with pytest.raises(InputError, match="3 nearest neighbours need"):
        gantlet.evaluate(str(real), str(fake), metrics=["precision-recall"], features="thumbnail")


def test_the_best_scoring_weights_are_kept(trained):
    scores = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    best = json.loads((trained / "best" / "config.json").read_text())
    assert best["score"]["value"] <= min(row["score"]["value"] for row in scores if "score" in row)
    assert best["step"] in (2, 4, 6)
    made = Evaluation(None, str(trained), Wanted(n=50, seeds=2, metrics=["fd"], weights="best"), print)
    assert made.report.protocol["fake"]["weights"].startswith("best-scoring")
    assert made.report.subject["step"] == best["step"]
    with pytest.raises(InputError, match="weights=new"):
        Evaluation(None, str(trained), Wanted(weights="new"), print)


def test_a_folder_against_a_folder_needs_no_gan(tmp_path):
    real, fake = pictures(tmp_path / "real", digits(0, 300)), pictures(tmp_path / "fake", digits(300, 500))
    report = gantlet.evaluate(str(real), str(fake), metrics=["fd"])
    assert report.score("fd").interval.how == "jackknife" and report.protocol["features"]["name"] == "thumbnail"
    same = gantlet.evaluate(str(real), str(real), metrics=["fd"])
    assert any("THE SAME" in w for w in same.warnings)
    with pytest.raises(InputError, match="only a generator"):
        gantlet.evaluate(str(real), str(fake), seeds=3)


def test_sides_that_are_swapped_are_said_loudly(trained, tmp_path, capsys):
    assert command(["sample", str(trained), "-n", "80", "--out", str(tmp_path / "made")]) == 0
    real = pictures(tmp_path / "real", digits(0, 100))
    status = command(["evaluate", str(real), "--data", str(tmp_path / "made"), "--metrics", "fd", "--json"])
    _, err = capsys.readouterr()
    assert status == 0 and "ARE THE TWO SIDES SWAPPED" in err.upper()
    status = command(["evaluate", str(tmp_path / "made"), "--data", str(real), "--metrics", "fd", "--json"])
    assert status == 0 and "ARE THE TWO SIDES SWAPPED" not in capsys.readouterr().err.upper()


def test_the_command_shows_writes_and_compares(trained, tmp_path, capsys):
    asked = ["evaluate", str(trained), "-n", "260", "--seeds", "2", "--metrics", "fd,classes"]
    assert command([*asked, "--out", str(tmp_path / "page")]) == 0
    shown = capsys.readouterr().out
    report = EvaluationReport.load(tmp_path / "page" / "report.json")
    assert "FD-LeNet" in shown and report.fingerprint in shown and "floor" in shown
    assert (tmp_path / "page" / "index.html").is_file() and (tmp_path / "page" / "neighbours.png").is_file()
    assert command([*asked, "--against", str(tmp_path / "page" / "report.json")]) == 0
    assert "the same protocol" in capsys.readouterr().out
    assert (trained / "evaluation").is_dir()
    assert command(["evaluate", str(trained), "-n", "60", "--seeds", "2", "--metrics", "fd", "--json",
                    "--against", str(tmp_path / "page" / "report.json")]) == 0  # fmt: skip
    assert json.loads(capsys.readouterr().out)["protocol"]["fake"]["count"] == 60
    asked[3] = "60"
    assert command([*asked, "--against", str(tmp_path / "page" / "report.json")]) == 0
    assert "fake.count: 260 | 60" in capsys.readouterr().out


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda t, r: (None, str(t / "nothing")), ["nothing"]),
        (lambda t, r: (None, str(pictures(t / "f", digits(0, 9)))), ["--data"]),
        (lambda t, r: (str(t), str(r)), ["no images"]),
        (lambda t, r: ("digits", str(t)), ["no images"]),
        (lambda t, r: ("toy:ring", str(r)), ["[1, 8, 8]", "[2]"]),
        (lambda t, r: (3, torch.zeros(40, 1, 8, 8)), ["int is no set of samples"]),
    ],
)
def test_what_cannot_be_judged_says_why(trained, tmp_path, make, words):
    real, fake = make(tmp_path, trained)
    with pytest.raises(InputError) as caught:
        gantlet.evaluate(real, fake, metrics=["fd"], n=20, seeds=2)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_model_that_does_not_know_its_data_asks_for_it(trained, tmp_path):
    shutil.copytree(trained / "model", tmp_path / "model")
    with pytest.raises(InputError, match="name it with --data"):
        gantlet.evaluate(None, tmp_path / "model", **FEW)
    assert gantlet.evaluate("digits", tmp_path / "model", **FEW).score("fd").value > 0
    with pytest.raises(InputError, match="one set of weights"):
        Evaluation("digits", str(tmp_path / "model"), Wanted(weights="best"), print)


def test_points_are_judged_too(tmp_path):
    gantlet.train("mlp", "G.hidden=[8]", "D.hidden=[8]", data="toy:ring", out=tmp_path / "p", device="cpu", steps=2)
    report = gantlet.evaluate(None, tmp_path / "p", n=200, seeds=2)
    assert report.score("FD-raw").value > 0


def test_self_features_need_labels(tmp_path):
    real = pictures(tmp_path / "real", digits(0, 120))
    with pytest.raises(InputError, match="features=self needs labelled images"):
        gantlet.evaluate(str(real), str(real), features="self")


@pytest.mark.parametrize(
    "options, words",
    [
        ({"n": 0}, "n=0; it must be at least 2"),
        ({"seeds": 0}, "seeds=0"),
        ({"wieghts": "best"}, "did you mean 'weights'"),
        ({"weights": "new"}, "weights=new"),
        ({"metrics": ["fid"]}, "no metric named 'fid'"),
    ],
)
def test_options_are_checked_before_anything_is_drawn(trained, options, words):
    with pytest.raises(InputError, match=words):
        gantlet.evaluate(trained, **options)
