"""Runs: begun, stopped, killed, resumed, repeated, extended; and everything that can be wrong with them."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml

import gantlet
from gantlet.core.errors import InputError, NonFiniteError, StateError
from gantlet.core.train import Stop
from gantlet.runs import checkpoint
from gantlet.runs.folder import RunFolder

SMALL = ("G.width=4", "D.width=4", "G.z=8", "batch=8", "log_every=2", "sample_every=0", "save_every=3", "samples=4")


class Seen:
    def __init__(self):
        self.lines, self.rows = [], []

    def say(self, text):
        self.lines.append(text)

    warn = say

    def row(self, row, steps):
        self.rows.append(row)


def begin(out, *changes, recipe="r1gan", **options):
    return gantlet.train(recipe, *SMALL, *changes, data="digits", out=out, device="cpu", **options)


def weights(path):
    back, _ = checkpoint.load(RunFolder(path).state, print)
    return checkpoint.flatten(back)


def same(a, b):
    (shape_a, tensors_a), (shape_b, tensors_b) = weights(a), weights(b)
    assert shape_a == shape_b
    return all(torch.equal(tensors_a[k], tensors_b[k]) for k in tensors_a)


def stop_at(step):
    def stop(state, reports):
        raise Stop("test")

    return [(lambda now: now.step == step, stop)]


def test_a_run_explains_itself(tmp_path):
    run = begin(tmp_path / "r", steps=6)
    assert (run.step, run.reason) == (6, "done") and run.grid.is_file()
    facts = yaml.safe_load((run.path / "run.yaml").read_text())
    assert facts["settings"]["game"]["penalties"]["r1"]["use"] == "r1"
    assert facts["decided"]["precision"] in ("float32", "bf16") and facts["machine"]["threads"] >= 1
    assert facts["data"]["source"] == "digits" and facts["data"]["count"] > 1500
    rows = RunFolder(run.path).rows()
    assert [r["step"] for r in rows] == [1, 2, 4, 6] and all(
        math.isfinite(v) for r in rows for v in r["terms"].values()
    )
    assert {p.name for p in (run.path / "model").iterdir()} == {"model.safetensors", "config.json", "README.md"}
    model = gantlet.load(run.path)
    x = model.sample(5, seed=1)
    assert x.shape == (5, 1, 8, 8) and x.dtype == torch.float32 and x.abs().max() <= 1
    assert torch.equal(model.sample(2, seed=1, first=3), x[3:]) or torch.allclose(
        model.sample(2, seed=1, first=3), x[3:], atol=1e-4
    )
    again = gantlet.load(model.save_pretrained(tmp_path / "copy"))
    assert torch.equal(again.sample(5, seed=1), x)


@pytest.mark.parametrize("dynamics", ["alternating", "extragradient"])
def test_stopped_and_resumed_is_the_run_never_stopped(tmp_path, dynamics):
    whole = begin(tmp_path / "whole", f"dynamics={dynamics}", "players.G.lr={use: cosine, start: 1e-3}", steps=10)
    begin(
        tmp_path / "parts",
        f"dynamics={dynamics}",
        "players.G.lr={use: cosine, start: 1e-3}",
        steps=10,
        watch=stop_at(5),
    )
    run = gantlet.train(tmp_path / "parts", resume=True)
    assert run.step == 10 and same(whole.path, run.path)
    assert torch.equal(gantlet.load(whole.path).sample(3), gantlet.load(run.path).sample(3))


def test_a_run_yaml_repeats_a_run(tmp_path):
    first = begin(tmp_path / "a", steps=5)
    second = gantlet.train(first.path / "run.yaml", out=tmp_path / "b")
    assert same(first.path, second.path)


def test_more_steps_extend_a_run(tmp_path):
    begin(tmp_path / "a", steps=4)
    longer = gantlet.train(tmp_path / "a", resume=True, steps=8)
    assert longer.step == 8 and same(begin(tmp_path / "b", steps=8).path, longer.path)
    assert RunFolder(longer.path).rows()[-1]["attempt"] == 2


def test_fewer_steps_than_were_played_are_refused(tmp_path):
    begin(tmp_path / "a", steps=4)
    before = (tmp_path / "a" / "run.yaml").read_text()
    with pytest.raises(InputError, match="steps=3: this run is at step 4; give more"):
        gantlet.train(tmp_path / "a", resume=True, steps=3)
    assert (tmp_path / "a" / "run.yaml").read_text() == before


def test_later_attempts_supersede_rows(tmp_path):
    folder = RunFolder(tmp_path)
    rows = [{"attempt": 1, "step": s} for s in (2, 4, 6)] + [{"attempt": 2, "step": s} for s in (4, 6, 8)]
    folder.log.write_text("".join(json.dumps(r) + "\n" for r in rows) + '{"attempt": 2, "st')
    assert [(r["attempt"], r["step"]) for r in folder.rows()] == [(1, 2), (2, 4), (2, 6), (2, 8)]


KILLED = """
import sys
import gantlet
out, resume = sys.argv[1], sys.argv[2] == "resume"

what = out if resume else "r1gan"
changes = () if resume else {changes!r}
how = dict(resume=True) if resume else dict(data="digits", steps={steps})
gantlet.train(what, *changes, out=out, device="cpu", **how)
"""


def test_killed_at_random_moments_five_times_ends_bit_identical(tmp_path):
    """SIGKILL, whatever it is doing, saving included; resumed each time."""
    steps, changes = 240, (*SMALL, "save_every=2", "log_every=20")
    script = KILLED.format(changes=changes, steps=steps)
    whole = gantlet.train("r1gan", *changes, data="digits", out=tmp_path / "whole", device="cpu", steps=steps)
    out, draw, kills = tmp_path / "killed", random.Random(0), 0
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    while kills < 5:
        how = "resume" if checkpoint.states(RunFolder(out).state) else "begin"
        if how == "begin" and out.exists():
            subprocess.run(["rm", "-r", str(out)], check=True)
        before = len(checkpoint.states(RunFolder(out).state)) and checkpoint.states(RunFolder(out).state)[0]
        child = subprocess.Popen([sys.executable, "-c", script, str(out), how], env=environment)
        while child.poll() is None and (checkpoint.states(RunFolder(out).state) or [0])[0] == before:
            time.sleep(0.01)  # until it has saved something new
        time.sleep(draw.random() * 0.2)
        child.kill()
        assert child.wait() in (-signal.SIGKILL, 0)
        kills += 1
    done = gantlet.train(out, resume=True)
    assert done.step == steps and same(whole.path, out)


def test_sigterm_finishes_the_step_saves_and_leaves(tmp_path):
    out = tmp_path / "r"
    child = subprocess.Popen(
        [sys.executable, "-m", "gantlet", "train", "r1gan", *SMALL, "save_every=0", "--out", str(out), "--steps", "100000"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not RunFolder(out).rows():
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    said, _ = child.communicate(timeout=60)
    assert child.returncode == 0 and "stopped by SIGTERM; saved" in said and "--resume" in said
    assert len(checkpoint.states(RunFolder(out).state)) == 1


def nan_at(step):
    def spoil(state, reports):
        with torch.no_grad():
            next(state.game.G.parameters()).fill_(float("nan"))

    return [(lambda now: now.step == step, spoil)]


def test_nan_stops_names_itself_and_keeps_the_last_good_state(tmp_path):
    with pytest.raises(NonFiniteError, match=r"step 4: player 'D'.*\n.*last good state is step 3"):
        begin(tmp_path / "r", steps=20, watch=nan_at(4))
    back, path = checkpoint.load(RunFolder(tmp_path / "r").state, print)
    assert path.name == "step-00000003" and torch.isfinite(next(iter(back["game"].values()))).all()


def test_an_existing_run_is_not_overwritten(tmp_path):
    begin(tmp_path / "r", steps=2)
    with pytest.raises(InputError, match="already holds a run; add --resume"):
        begin(tmp_path / "r", steps=2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(InputError, match="not empty"):
        begin(tmp_path / "full", steps=2)
    with pytest.raises(InputError, match="is a file"):
        begin(tmp_path / "full" / "x", steps=2)


def test_a_state_of_another_recipe_is_refused_with_the_differences(tmp_path):
    begin(tmp_path / "r", steps=3)
    facts = yaml.safe_load((tmp_path / "r" / "run.yaml").read_text())
    facts["settings"]["game"]["G"]["width"] = 6
    (tmp_path / "r" / "run.yaml").write_text(yaml.safe_dump(facts))
    with pytest.raises(StateError, match=r"of another game than run.yaml describes(.|\n)*saved, (.|\n)*here"):
        gantlet.train(tmp_path / "r", resume=True)


def test_a_run_yaml_edited_into_nonsense_names_every_fault(tmp_path):
    begin(tmp_path / "r", steps=2)
    path = tmp_path / "r" / "run.yaml"
    facts = yaml.safe_load(path.read_text())
    facts["settings"]["batch"] = "many"
    facts["settings"]["game"]["penalties"]["r11"] = {"gamma": 1}
    path.write_text(yaml.safe_dump(facts))
    with pytest.raises(InputError) as caught:
        gantlet.train(tmp_path / "r", resume=True)
    assert len(caught.value.faults) == 2 and all("run.yaml" in fault for fault in caught.value.faults)
    path.write_text("{ not yaml")
    with pytest.raises(InputError, match="not YAML"):
        gantlet.train(tmp_path / "r", resume=True)
    path.write_text("- a\n- b\n")
    with pytest.raises(InputError, match="a map of options"):
        gantlet.train(tmp_path / "r", resume=True)


def test_other_data_and_other_threads_are_named(tmp_path):
    begin(tmp_path / "r", steps=3)
    facts = yaml.safe_load((tmp_path / "r" / "run.yaml").read_text())
    facts["machine"]["torch"] = "0.0"
    (tmp_path / "r" / "run.yaml").write_text(yaml.safe_dump(facts))
    seen = Seen()
    gantlet.train(tmp_path / "r", resume=True, steps=4, show=seen)
    assert any("torch 0.0 ->" in line for line in seen.lines)
    assert any("steps 3 -> 4" in line for line in seen.lines)
    with pytest.raises(InputError, match="shape was"):
        gantlet.train(tmp_path / "r", resume=True, steps=5, data=torch.zeros(80, 3, 8, 8) + torch.rand(80, 1, 1, 1))


def test_out_of_memory_names_a_batch_that_fits(tmp_path):
    class Hungry(torch.nn.Module):
        """Fits 4 rows."""

        def __init__(self):
            super().__init__()
            self.body = torch.nn.Linear(64, 1)

        def forward(self, x):
            if len(x) > 4:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return self.body(x.flatten(1)).squeeze(1)

    from gantlet.games.classic import Classic

    spec = gantlet.Spec((1, 8, 8))
    game = Classic(spec, G=gantlet.create("cnn", spec, width=4), D=Hungry(), adversarial="non-saturating")
    with pytest.raises(gantlet.GantletError, match="out of memory at batch 32 on cpu; batch=4 fits"):
        gantlet.train(game, data="digits", out=tmp_path / "r", batch=32, steps=5, device="cpu")


def test_your_own_game_and_modules_train_and_resume_from_code(tmp_path):
    from gantlet.games.classic import Classic

    def make():
        torch.manual_seed(0)
        spec = gantlet.Spec((1, 8, 8))
        judge = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1), torch.nn.Flatten(0))
        return Classic(spec, G=gantlet.create("mlp", spec, z=6, hidden=(8,)), D=judge)

    options = {"data": "digits", "batch": 8, "device": "cpu", "players": {"G": {"use": "sgd"}, "D": {"use": "adam"}}}
    whole = gantlet.train(make(), out=tmp_path / "a", steps=8, **options)
    gantlet.train(make(), out=tmp_path / "b", steps=8, watch=stop_at(4), **options)
    run = gantlet.train(make(), out=tmp_path / "b", resume=True)
    assert run.step == 8 and same(whole.path, run.path)
    assert gantlet.load(run.path, game=make()).sample(2).shape == (2, 1, 8, 8)
    with pytest.raises(InputError, match="came from code"):
        gantlet.load(run.path)


def test_minutes_stop_a_run_saved(tmp_path):
    run = begin(tmp_path / "r", steps=1_000_000, minutes=0.01)
    assert "minutes are over" in run.reason and checkpoint.states(RunFolder(run.path).state)


def test_a_run_of_auto_repeats_what_was_decided(tmp_path):
    first = gantlet.train("auto", "G.width=4", "D.width=4", out=tmp_path / "a", device="cpu", steps=3, seed=7, batch=8)
    again = gantlet.train(str(first.path / "run.yaml"), out=tmp_path / "b", device="cpu")
    assert same(first.path, again.path)
    facts = yaml.safe_load((again.path / "run.yaml").read_text())
    assert facts["settings"]["seed"] == 7 and any("as you asked" in line for line in facts["why"])


def test_a_recipe_s_name_means_the_recipe_also_beside_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begin(tmp_path / "r1gan", steps=2)
    assert begin(tmp_path / "other", "batch=4", steps=3).step == 3


def test_another_optimiser_does_not_take_over_moments(tmp_path):
    begin(tmp_path / "r", steps=3)
    with pytest.raises(StateError, match=r"moments of Adam saved, RMSprop here"):
        gantlet.train(tmp_path / "r", "players.G=rmsprop", resume=True, steps=4)
    assert gantlet.train(tmp_path / "r", resume=True, steps=4).step == 4, "the refused change has not been kept"


def test_a_run_that_died_before_its_first_save_is_begun_again(tmp_path):
    seen = Seen()
    with pytest.raises(NonFiniteError):
        begin(tmp_path / "r", "save_every=0", steps=9, watch=nan_at(2))
    run = gantlet.train(tmp_path / "r", resume=True, show=seen)
    assert run.step == 9 and any("beginning at the first step" in line for line in seen.lines)


def test_a_seed_cannot_change(tmp_path):
    begin(tmp_path / "r", steps=2)
    with pytest.raises(InputError, match="seed 5: the run began with 0"):
        gantlet.train(tmp_path / "r", resume=True, steps=3, seed=5)


def test_looking_at_a_run_without_averages_changes_nothing(tmp_path):
    """Batch norm in the generator, drawn with its live weights."""
    changes = ("average=null", "batch=8", "G.width=4", "D.width=4", "save_every=0")
    a, b = (
        gantlet.train("dcgan", *changes, f"sample_every={k}", out=tmp_path / str(k), device="cpu", steps=4)
        for k in (0, 1)
    )
    assert same(a.path, b.path)


def test_points_of_any_dimension_train_and_sample(tmp_path):
    run = gantlet.train("auto", data=torch.randn(200, 5), out=tmp_path / "r", device="cpu", steps=2, batch=8)
    assert run.grid.is_file() and gantlet.load(run.path).sample(3).shape == (3, 5)


def test_a_run_is_resumed_from_another_folder(tmp_path, monkeypatch):
    from PIL import Image

    (tmp_path / "here" / "photos").mkdir(parents=True)
    for i in range(30):
        Image.effect_noise((8, 8), 50 + i).save(tmp_path / "here" / "photos" / f"{i}.png")
    monkeypatch.chdir(tmp_path / "here")
    gantlet.train("r1gan", *SMALL, data="photos#train", out=tmp_path / "r", device="cpu", steps=2)
    monkeypatch.chdir(tmp_path)
    assert gantlet.train(tmp_path / "r", resume=True, steps=3).step == 3


def test_a_log_cut_off_by_a_crash_loses_that_row_alone(tmp_path):
    begin(tmp_path / "r", steps=2)
    with (tmp_path / "r" / "log.jsonl").open("a") as file:
        file.write('{"attempt": 1, "st')
    gantlet.train(tmp_path / "r", resume=True, steps=3)
    rows = RunFolder(tmp_path / "r").rows()
    assert [row["step"] for row in rows] == [1, 2, 3] and rows[-1]["attempt"] == 2
