"""gantlet diagnose as a user types it."""

from __future__ import annotations

import json
import shutil
from functools import partial

import pytest

import gantlet
from gantlet import api
from gantlet.cli.app import run
from gantlet.core.errors import InputError
from gantlet.doctor import diagnosis as diagnosing
from gantlet.doctor.deep import Deep, deep
from gantlet.doctor.finding import Detector, Measure, Remedy, Seen, Sign

SMALL = ("G.hidden=[8]", "D.hidden=[8]", "batch=16")


def call(capsys, *arguments):
    status = run([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short run, watched."""
    folder = tmp_path_factory.mktemp("runs") / "short"
    gantlet.train("mlp", *SMALL, data="toy:ring", out=folder, steps=20, device="cpu")
    return folder


def doomed(seen: Seen) -> Sign | None:
    """Every training is doomed (nobody 2026).

    That is how it is.
    """
    return Sign((Measure("steps", seen.step, None, 10.0, "D.auc"),), "D")


@pytest.fixture
def pessimist(monkeypatch):
    """A doctor who finds fault with everything."""
    cure = (lambda seen, sign: Remedy("go slowly", ("players.D.lr=0.0001",), "nobody 2026"),)
    monkeypatch.setattr(diagnosing, "DETECTORS", {"doomed": Detector("doomed", "dynamics", doomed, cure, 1, 0)})


@pytest.fixture
def optimist(monkeypatch):
    """One who finds none."""
    monkeypatch.setattr(diagnosing, "DETECTORS", {})


def test_what_is_wrong_and_what_to_type(capsys, trained, pessimist):
    status, out, err = call(capsys, "diagnose", trained)
    assert status == 0, err
    assert out.startswith("Something is wrong. The likely cause: doomed (D)")
    for part in (
        "Every training is doomed",
        "healthy: at most 10",
        "players.D.lr=0.0001 - go slowly",
        "Is D's loss of",
    ):
        assert part in out
    assert f"gantlet train {trained}/run.yaml players.D.lr=0.0001" in " ".join(out.split())
    page = trained / "diagnosis" / "index.html"
    assert out.splitlines()[-1] == f"page: {page}" and "doomed" in page.read_text(encoding="utf-8")


def test_the_change_it_names_can_be_typed(capsys, trained, pessimist, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, out, _ = call(capsys, "diagnose", trained)
    typed = (
        next(line for line in out.splitlines() if line.startswith("to try the first: ")).split("gantlet ")[1].split()
    )
    status, out, err = call(capsys, *typed, "--steps", 1, "--out", "again", "--device", "cpu")
    assert status == 0, err
    assert api.RunFolder("again").recipe()["players"]["D"]["lr"] == 0.0001


def test_nothing_is_wrong(capsys, trained, optimist):
    status, out, _ = call(capsys, "diagnose", trained)
    assert status == 0 and out.startswith("Nothing is wrong: no finding up to step 20.") and "to try" not in out


def test_one_document(capsys, trained, pessimist):
    status, out, _ = call(capsys, "diagnose", trained, "--json")
    told = json.loads(out)
    assert status == 0 and told["run"] == str(trained) and told["cause"] == "doomed" and not told["healthy"]
    assert told["findings"][0]["remedies"][0]["change"] == ["players.D.lr=0.0001"]
    assert 0 <= told["vitals"]["D.auc"]["value"] <= 1 and told["loss"].startswith("Is D's loss of")
    assert told["page"].endswith("index.html")


def test_json_has_no_words_that_json_does_not_know(capsys, trained, monkeypatch):
    def lost(seen: Seen) -> Sign | None:
        return Sign((Measure("loss", float("nan"), None, float("inf")),))

    monkeypatch.setattr(diagnosing, "DETECTORS", {"lost": Detector("lost", "non-finite", lost, (), 1, 0)})
    _, out, _ = call(capsys, "diagnose", trained, "--json")
    assert json.loads(out, parse_constant=pytest.fail)["findings"][0]["evidence"][0]["value"] is None


def test_the_page_goes_where_it_is_asked_to(capsys, trained, optimist, tmp_path):
    status, out, _ = call(capsys, "diagnose", trained / "run.yaml", "--out", tmp_path / "new" / "page.html")
    assert status == 0 and (tmp_path / "new" / "page.html").is_file() and str(tmp_path / "new" / "page.html") in out


def test_from_code(trained, pessimist):
    made = api.diagnose(trained)
    assert made.cause is not None and made.cause.name == "doomed" and made.windows[-1].last == 20


def test_wrong_input_says_the_way_out(capsys, tmp_path, trained):
    status, out, err = call(capsys, "diagnose", tmp_path / "nothing")
    assert status == 2 and "holds no run" in err and out == ""
    status, _, err = call(capsys, "diagnose", trained.parent / "shrt")
    assert status == 2 and str(trained) in err, "runs nearby are named"
    with pytest.raises(InputError, match="holds no run"):
        api.diagnose(tmp_path)


def test_a_run_that_nobody_watched_says_how_to_have_one_watched(capsys, tmp_path):
    gantlet.train("mlp", *SMALL, "doctor=0", data="toy:ring", out=tmp_path / "r", steps=2, device="cpu")
    status, out, err = call(capsys, "diagnose", tmp_path / "r")
    assert status == 2 and "doctor=0" in err and "doctor=10" in err and out == ""
    assert not (tmp_path / "r" / "diagnosis").exists(), "nothing is left behind"


def test_a_deep_look_says_what_it_found_and_leaves_the_run_alone(capsys, trained, optimist, monkeypatch):
    monkeypatch.setattr("gantlet.runs.deep.deep", partial(deep, steps=4, most=6))
    files = [p for p in trained.rglob("*") if p.is_file() and "diagnosis" not in p.parts]
    before = {p: p.read_bytes() for p in files}
    status, out, err = call(capsys, "diagnose", trained, "--deep")
    assert status == 0, err
    text = " ".join(out.split())
    assert "A deep look, at the state of step 20." in text and "Duality gap" in text and "Jacobian" in text
    assert {p: p.read_bytes() for p in files} == before
    assert "Duality gap" in (trained / "diagnosis" / "index.html").read_text(encoding="utf-8")


def test_a_deep_look_in_the_document(capsys, trained, optimist, monkeypatch):
    monkeypatch.setattr("gantlet.runs.deep.deep", lambda *a, **k: Deep(None, None, ("it cannot be had",)))
    told = json.loads(call(capsys, "diagnose", trained, "--deep", "--json")[1])["deep"]
    assert told == {"step": 20, "spectrum": None, "duality_gap": None, "why_not": ["it cannot be had"]}


def test_a_deep_look_wants_a_state(capsys, trained, tmp_path, optimist):
    shutil.copytree(trained, tmp_path / "r", ignore=shutil.ignore_patterns("state"))
    status, _, err = call(capsys, "diagnose", tmp_path / "r", "--deep")
    assert status == 2 and "has saved none yet" in err
