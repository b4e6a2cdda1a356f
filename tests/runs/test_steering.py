"""Who acts on what the doctor finds, in a run: the rule that ends it, and the autopilot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gantlet import api
from gantlet.core.dynamics import Reports
from gantlet.core.errors import InputError, NonFiniteError
from gantlet.core.state import State
from gantlet.doctor.convergence import Convergence
from gantlet.runs.folder import RunFolder

CHANGES = ("G.hidden=[16]", "D.hidden=[16]", "batch=16", "data=toy:ring", "samples=4", "sample_every=0")


def test_a_training_ends_when_the_rule_is_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def met(self: Convergence, diagnosis: Any, step: int, score: float | None) -> str | None:
        return "converged: a test" if step >= 100 else None

    monkeypatch.setattr(Convergence, "see", met)
    run = api.train("mlp", *CHANGES, out=tmp_path / "run", steps=400, until="converged")
    assert (run.step, run.reason) == (100, "converged: a test")
    assert (run.path / "model").is_dir()
    more = api.train(run.path, resume=True)  # nobody asked for the rule any more
    assert (more.step, more.reason) == (400, "done")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"until": "tomorrow"}, "no such rule.*converged"),
        ({"until": "converged", "doctor": 0}, "doctor=10"),
        ({"autopilot": True, "doctor": 0}, "doctor=10"),
    ],
)
def test_what_cannot_be_steered_is_refused(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        api.train("mlp", *CHANGES, out=tmp_path / "run", steps=40, **options)


def poisoned(steps: tuple[int, ...]) -> Any:
    """A watcher that makes a weight of D infinite after these steps."""

    def poison(state: State, reports: Reports) -> None:
        if state.now.step in steps:
            with torch.no_grad():
                state.players["D"].weights[0].fill_(float("inf"))

    return [(lambda now: True, poison)]


def test_the_autopilot_goes_back_to_a_good_state_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError):
        api.train("mlp", *CHANGES, out=tmp_path / "alone", steps=200, watch=poisoned((60,)))
    run = api.train("mlp", *CHANGES, out=tmp_path / "run", steps=200, watch=poisoned((60,)), autopilot=True)
    assert (run.step, run.reason) == (200, "done")
    rows = [json.loads(line) for line in RunFolder(run.path).actions.read_text().splitlines()]
    assert any(row["knob"] == "weights" for row in rows) and all(row["reason"] for row in rows)
    for weight in api.load(run.path).game.made_of()["G"].parameters():
        assert torch.isfinite(weight).all()


def test_an_autopilot_that_did_not_act_changed_nothing(tmp_path: Path) -> None:
    one = api.train("mlp", *CHANGES, out=tmp_path / "one", steps=60)
    two = api.train("mlp", *CHANGES, out=tmp_path / "two", steps=60, autopilot=True)
    assert not RunFolder(two.path).actions.exists()
    ours, theirs = (api.load(run.path).game.made_of()["G"].state_dict() for run in (one, two))
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_after_three_falls_it_gives_up_honestly(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError) as error:
        api.train("mlp", *CHANGES, out=tmp_path / "run", steps=400, watch=poisoned((60, 160, 260)), autopilot=True)
    assert "after 2 rollbacks" in str(error.value)
