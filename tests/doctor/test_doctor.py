"""The doctor at the bedside: it changes nothing, reads nothing back between windows, and forgets nothing over a resume."""

from __future__ import annotations

import json
import math
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gantlet import api
from gantlet.core.state import State
from gantlet.core.train import Stop, train
from gantlet.data import open_source
from gantlet.doctor import About, Diagnosis, Doctor, Window
from gantlet.doctor.doctor import ends
from gantlet.doctor.ring import Ring, Row
from gantlet.doctor.rows import rows_for
from gantlet.doctor.vitals import apart, marks_of, samples
from gantlet.doctor.window import correlation, window
from gantlet.runs.build import build, decide, spec_of, stream_of
from gantlet.runs.doctoring import diagnosis_of, windows_of
from gantlet.runs.folder import RunFolder

CPU = torch.device("cpu")
CHANGES = ("G.hidden=[16]", "D.hidden=[16]", "batch=16", "data=toy:ring")


def begun(*changes: str) -> tuple[Any, Any, Any, Any]:
    """A state, its engine, its data, and rows for probes."""
    recipe = api.recipe("mlp", *CHANGES, *changes)
    assert recipe["data"] is not None
    dataset = open_source(recipe["data"])
    state, engine = build(recipe, spec_of(recipe, dataset), decide(recipe, CPU), steps=300)
    return state, engine, stream_of(recipe, dataset), rows_for(dataset, CPU)


def weights(state: State) -> list[Tensor]:
    return [v.clone() for v in state.game.state_dict().values()]


@pytest.mark.parametrize(
    "change",
    ["dynamics=alternating", "dynamics=extragradient", "dynamics=consensus", "dynamics=lookahead", "micro_batch=4",
     "game.d_steps=2", "penalties.r1.gamma=1", "game.tricks.packing.m=2"],
)  # fmt: skip
def test_a_watched_training_is_bit_for_bit_the_same(change: str) -> None:
    alone, engine, data, _ = begun(change)
    train(alone, engine, data, 60)
    watched, engine, data, rows = begun(change)
    train(watched, engine, data, 60, Doctor(About(batch=16), look=3, rows=rows).watches())
    assert all(torch.equal(a, b) for a, b in zip(weights(alone), weights(watched)))


class Reads(TorchDispatchMode):
    """Counts scalars that are read back."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def reads_of(watch: bool) -> int:
    state, engine, data, _ = begun()
    doctor = Doctor(About(batch=16), look=1)
    watches = doctor.watches() if watch else []
    train(state, engine, data, 101, watches)
    listed = Tensor.tolist
    with Reads() as reads, patch.object(Tensor, "tolist", autospec=True, side_effect=listed) as lists:
        train(state, engine, data, 199, watches)
    return reads.count + int(lists.call_count)


def test_between_two_windows_nothing_is_read_back() -> None:
    assert reads_of(watch=True) == reads_of(watch=False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_no_step_waits_for_the_gpu() -> None:
    recipe = api.recipe("mlp", *CHANGES)
    dataset = open_source("toy:ring")
    state, engine = build(recipe, spec_of(recipe, dataset), decide(recipe, torch.device("cuda")), steps=300)
    doctor = Doctor(About(batch=16), look=1)
    data = stream_of(recipe, dataset)
    train(state, engine, data, 101, doctor.watches())
    torch.cuda.set_sync_debug_mode("error")
    try:
        train(state, engine, data, 199, doctor.watches())
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_ring_gives_back_what_was_put_down_in_order() -> None:
    ring = Ring(3)
    ring.put(1, {"a": torch.tensor(1.0), "b": torch.tensor(True)})
    ring.put(2, {"a": torch.tensor(2.5)})  # other names on the way
    ring.put(3, {"a": torch.tensor(3.0), "b": torch.tensor(0.5)})
    assert ring.arrived() == []  # nobody fetched
    ring.fetch()
    ring.put(4, {"a": torch.tensor(9.0), "b": torch.tensor(9.0)})  # must not reach the rows that are on their way
    assert ring.arrived(wait=True) == [
        Row(1, {"a": 1.0, "b": 1.0}), Row(2, {"a": 2.5}), Row(3, {"a": 3.0, "b": 0.5}),
    ]  # fmt: skip
    ring.fetch()
    assert ring.arrived(wait=True) == [Row(4, {"a": 9.0, "b": 9.0})]


def test_a_ring_that_is_full_says_so() -> None:
    ring = Ring(1)
    ring.put(1, {"a": torch.zeros(())})
    with pytest.raises(ValueError, match="more than 1 rows"):
        ring.put(2, {"a": torch.zeros(())})


def test_a_window_is_means_and_deviations_and_what_the_gap_does() -> None:
    pulses = [Row(i, {"D.real": 1.0 + (-1) ** i, "D.fake": 0.0, "D.gradient": float(i)}) for i in range(1, 101)]
    looks = [Row(i, {"D.auc": 0.75, "D.spread": 2.0}) for i in range(10, 101, 10)]
    made = window(pulses, looks, {"probe.rv": 0.5}, batch=8)
    assert (made.first, made.last) == (1, 100)
    assert made.values["D.gradient"] == 50.5 and made.values["D.auc"] == 0.75 and made.values["probe.rv"] == 0.5
    assert made.values["D.gap"] == 1.0 and made.values["D.separation"] == 0.5
    assert made.values["D.gap.z"] == pytest.approx(1 / (2 * math.sqrt(2 / 8)))
    assert made.values["D.gap.acf1"] == pytest.approx(-0.99) and made.values["D.gap.acf2"] == pytest.approx(0.98)


def test_a_window_without_rows_is_where_it_was_closed() -> None:
    """Training stopped right after a window had ended: the alarm is of that step, not of step 0."""
    assert window([], [], {"alarm.D.r1": 201.0}, batch=8, step=200)[:2] == (200, 200)


def test_what_is_not_finite_is_left_out_of_a_mean_and_kept_as_none() -> None:
    made = window([Row(1, {"a": math.nan, "b": 1.0}), Row(2, {"a": math.inf, "b": math.nan})], [], {}, batch=1)
    assert math.isnan(made.values["a"]) and made.values["b"] == 1.0
    assert json.loads(json.dumps(made.to_json()))["values"]["a"] is None
    assert math.isnan(Window.of_json(made.to_json()).values["a"])


def test_a_correlation_of_white_noise_is_small_and_of_a_constant_nothing() -> None:
    noise = torch.randn(4_000, generator=torch.Generator().manual_seed(0)).tolist()
    assert abs(correlation(noise, 1)) < 0.05 and correlation(noise, 0) == pytest.approx(1)
    assert math.isnan(correlation([2.0] * 50, 1))


def test_diversity_is_one_of_equal_draws_and_none_of_a_point() -> None:
    x = torch.randn(64, 12, generator=torch.Generator().manual_seed(1))
    assert samples(x, x)["diversity"] == 1
    assert samples(x, x[:1].expand(64, 12))["diversity"] < 1e-3
    assert samples(x, 3 * x)["diversity"] == pytest.approx(3, rel=1e-4)
    pair = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert apart(pair) == 5


def test_equal_rows_share_a_mark() -> None:
    x = torch.randn(32, 3 * 16 * 16, generator=torch.Generator().manual_seed(2))
    x[7] = x[3]
    same = marks_of(x)[:, None] == marks_of(x)[None, :]
    assert same.sum() == 32 + 2 and same[3, 7]


def test_windows_end_early_at_first() -> None:
    assert [step for step in range(1, 401) if ends(step)] == [20, 50, 100, 200, 300, 400]


def test_a_run_resumed_within_a_window_has_the_vitals_of_one_that_was_not(tmp_path: Any) -> None:
    facts = {"sample_every": 0, "save_every": 0, "samples": 4}
    whole = api.train(api.recipe("mlp", *CHANGES, **facts), out=tmp_path / "whole", steps=230)

    def stop(state: State, reports: Any) -> None:
        raise Stop("a test")

    watch = [(lambda now: now.step == 130, stop)]
    api.train(api.recipe("mlp", *CHANGES, **facts), out=tmp_path / "parts", steps=230, watch=watch)
    parts = api.train(tmp_path / "parts", resume=True)
    assert windows_of(RunFolder(whole.path)) == windows_of(RunFolder(parts.path))
    assert [w.last for w in windows_of(RunFolder(parts.path))] == [20, 50, 100, 200, 230]


def test_from_code_what_is_wrong_is_logged(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    api.train("mlp", *CHANGES, "players.G.lr=0.5", "players.D.lr=0.5", out=tmp_path / "run", steps=20)
    (told,) = (r for r in caplog.records if r.name == "gantlet")
    assert told.levelname == "WARNING" and told.getMessage().startswith("step 20: large-steps")


def test_a_log_judged_again_says_what_was_said_live(tmp_path: Any) -> None:
    said: list[str] = []

    class Show:
        def say(self, text: str) -> None:
            said.append(text)

        warn = say

        def row(self, row: dict[str, Any], steps: int) -> None:
            pass

    run = api.train(
        "mlp", *CHANGES, "players.G.lr=0.5", "players.D.lr=0.5", out=tmp_path / "run", steps=400, show=Show(),
        sample_every=0, save_every=0,
    )  # fmt: skip
    again = diagnosis_of(RunFolder(run.path))
    assert again.found, "a learning rate of .5 is not healthy"
    assert all(any(f.what[:40] in text for text in said) for f in again.found.values())
    assert run.findings == tuple(f.name for f in again.holding)


def test_an_unwatched_run_has_no_vitals_and_says_why(tmp_path: Any) -> None:
    run = api.train("mlp", *CHANGES, out=tmp_path / "run", steps=30, doctor=0, samples=4)
    assert not RunFolder(run.path).vitals.exists()
    with pytest.raises(api.InputError if hasattr(api, "InputError") else Exception, match="doctor=0"):
        diagnosis_of(RunFolder(run.path))


def test_of_several_findings_the_cause_comes_first() -> None:
    from gantlet.doctor.finding import DETECTORS, Measure, Seen, Sign, detects

    before = dict(DETECTORS)

    @detects("outcome", hold=1, name="test-late")
    def late(seen: Seen) -> Sign | None:
        """Late. (Test 2026)"""
        return Sign((Measure("a", 1.0),)) if seen.now("a") > 0 else None

    @detects("wiring", hold=2, name="test-early")
    def early(seen: Seen) -> Sign | None:
        """Early. (Test 2026)"""
        return Sign((Measure("a", 1.0),)) if seen.now("a") > 1 else None

    try:
        windows = [Window(1 + 10 * i, 10 + 10 * i, {"a": float(i)}) for i in range(5)]
        found = Diagnosis.of(About(), windows)
        names = [f.name for f in found.ordered if f.name.startswith("test-")]
        assert names == ["test-early", "test-late"]
        assert found.found["test-early"].first == 30 and found.found["test-early"].believed == 40
        assert found.found["test-late"].first == 20
    finally:
        from gantlet.core.registry import finding

        for name in set(DETECTORS) - set(before):
            del DETECTORS[name], finding.parts[name]
