"""The command line as a user types it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from gantlet.cli.app import run
from gantlet.core import registry


def gantlet(capsys, *arguments):
    status = run([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return status, out, err


SMALL = ("G.width=4", "D.width=4", "batch=8", "--steps", "4")


def test_train_sample_and_the_words_at_the_end(capsys, tmp_path):
    status, out, err = gantlet(capsys, "train", "r1gan", *SMALL, "--out", tmp_path / "r", "--device", "cpu")
    assert status == 0, err
    assert "done: step 4" in out and "next: gantlet sample" in out and "samples:" in out
    status, out, _ = gantlet(capsys, "sample", tmp_path / "r", "-n", 6, "--out", tmp_path / "grid.png")
    assert status == 0 and (tmp_path / "grid.png").is_file()
    status, out, _ = gantlet(capsys, "sample", tmp_path / "r", "-n", 6, "--out", tmp_path / "many")
    assert status == 0 and len(list((tmp_path / "many").glob("*.png"))) == 6
    status, out, _ = gantlet(capsys, "sample", tmp_path / "r", "-n", 6, "--out", tmp_path / "x.npy")
    assert status == 0 and (tmp_path / "x.npy").is_file()


def test_a_run_without_out_is_named_by_day_and_recipe(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for n in (1, 2):
        status, out, err = gantlet(capsys, "train", "mlp", "G.hidden=[8]", "batch=8", "--steps", 1, "--device", "cpu")
        assert status == 0 and f"-mlp-{n}" in out, err


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["train", "dcgna"], ["no recipe named 'dcgna'", "dcgan"]),
        (["train", "r1gan", "penalties.r11.gamma=4", "batch=0"], ["r11", "did you mean", "batch"]),
        (["train", "r1gan", "gamma"], ["not `path=value`"]),
        (["train", "r1gan", "--data", "nowhere/at/all"], ["nowhere/at/all"]),
        (["train", "r1gan", "--data", "digit"], ["digit", "digits"]),
        (["train", "r1gan", "--device", "tpu"], ["tpu", "cpu"]),
        (["train", "r1gan", "--size", "2"], ["size"]),
        (["train", "r1gan", "--size", "big"], ["size", "big"]),
        (["train", "r1gan", "--steps", "many", "--seed", "x"], ["many", "'x'"]),
        (["train", "r1gan", "--minutes", "long"], ["long", "above 0"]),
        (["train", "r1gan", "--resume", "--out", "nothing-here"], ["holds no run"]),
        (["train", "dcgan", "--data", "toy:ring"], ["images", "mlp"]),
        (["train", "wgan", "dynamics=extragradient"], ["turn 'D' plays 5 times", "alternating"]),
        (["train", "r1gan", "--with", "no_such_module"], ["no_such_module"]),
        (["sample", "nothing-here"], ["nothing-here"]),
        (["list", "penaltees"], ["did you mean"]),
        (["trian"], ["train"]),
        (["show", "dcgna"], ["did you mean 'dcgan'"]),
        (["bench", "sped"], ["did you mean 'speed'"]),
    ],
)
def test_wrong_input_is_status_2_in_few_lines_that_name_it(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    status, out, err = gantlet(capsys, *arguments)
    assert status == 2, (out, err)
    assert "Traceback" not in err and len(err.strip().splitlines()) <= 4
    for word in words:
        assert word in err
    assert not (tmp_path / "runs").exists(), "nothing is left behind"


def test_list_and_show(capsys):
    status, out, _ = gantlet(capsys, "list")
    assert status == 0 and "dcgan" in out and "penalty" in out
    for kind in ("penalties", "penalty", "dynamics", "generators"):
        assert gantlet(capsys, "list", kind)[0] == 0
    status, out, _ = gantlet(capsys, "list", "penalties", "--json")
    assert "r1" in json.loads(out)
    status, out, _ = gantlet(capsys, "show", "r1gan", "penalties.r1.gamma=4", "--json")
    assert json.loads(out)["game"]["penalties"]["r1"]["gamma"] == 4


def test_data_reports_and_draws(capsys, tmp_path):
    status, out, err = gantlet(capsys, "data", "digits", "--out", tmp_path / "sheet.png")
    assert status == 0, err
    assert "1,797" in out or "1797" in out
    assert "auto" in out and (tmp_path / "sheet.png").is_file()
    status, out, _ = gantlet(capsys, "data", "digits", "--json", "--out", tmp_path / "sheet.png")
    assert json.loads(out)["auto"]


def test_importing_and_help_load_no_torch():
    code = "import sys; import gantlet, gantlet.cli.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_debug_shows_a_traceback(capsys):
    _, _, err = gantlet(capsys, "train", "dcgna", "--debug")
    assert "Traceback" in err


PLUGIN = """
from typing import Any
from gantlet.core.registry import generator
from gantlet.nets.mlp import MLPGenerator

@generator.named("mine-own")
class Mine(MLPGenerator):
    \"\"\"A generator of one's own (Author 2026).\"\"\"
"""


def test_modules_that_parts_come_from_are_kept_and_asked_for(capsys, tmp_path, monkeypatch):
    """run.yaml and the model name them; nothing is imported that was not asked for."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_parts.py").write_text(PLUGIN)
    small = ("G.use=mine-own", "G.hidden=[8]", "G.z=4", "batch=8", "sample_every=0", "--steps", 1, "--device", "cpu")
    status, out, err = gantlet(capsys, "train", "mlp", *small, "--with", "my_parts", "--out", "r")
    assert status == 0, err
    assert out.splitlines()[-1] == "next: gantlet sample r -n 64 --out grid.png --with my_parts"
    assert yaml.safe_load(Path("r/run.yaml").read_text())["with"] == ["my_parts"]
    assert json.loads(Path("r/model/config.json").read_text())["with"] == ["my_parts"]
    commands = (
        ["sample", "r"], ["explore", "r", "interpolate"], ["train", "r", "--resume", "--steps", "2"],
        ["evaluate", "r"], ["show", "r"],
    )  # fmt: skip
    monkeypatch.delitem(sys.modules, "my_parts")
    part = registry.generator.parts.pop("mine-own")
    for command in commands:
        status, _, err = gantlet(capsys, *command)
        assert status == 2 and "parts come from my_parts: add --with my_parts" in err, err
        assert "my_parts" not in sys.modules
    for command in (["sample", "r", "-n", 2], ["explore", "r", "interpolate", "-n", 2, "--frames", 2], commands[2]):
        assert gantlet(capsys, *command, "--with", "my_parts")[0] == 0
    registry.generator.parts.pop(part.name)
    monkeypatch.delitem(sys.modules, "my_parts")


def test_what_data_needs_to_look_is_not_what_was_asked(capsys, tmp_path):
    """Nor is another source measured than the one that is looked at."""
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 256, (80, 80), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    status, out, err = gantlet(capsys, "data", tmp_path, "--out", tmp_path / "out" / "sheet.png")
    assert status == 0, err
    assert "as you asked" not in out and "bad_files" not in out
    out = gantlet(capsys, "data", tmp_path, "--size", 16, "--out", tmp_path / "out" / "sheet.png")[1]
    assert "as you asked: size=16" in out and "bad_files" not in out


def test_two_ranks_train_one_run(tmp_path):
    """torchrun -m gantlet: one folder, written by the first rank, whose model is the one a single process trains."""
    exact = "precision=float32"  # bf16, where a processor has it, rounds half a batch otherwise than a whole one
    command = ["-m", "gantlet", "train", "r1gan", *SMALL, exact, "--device", "cpu", "--out"]
    ranks = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    ranks += ["--nproc-per-node", "2"]
    together = subprocess.run([*ranks, *command, str(tmp_path / "two")], capture_output=True, text=True, timeout=120)
    assert together.returncode == 0, together.stderr
    assert together.stdout.count("done: step 4") == 1
    subprocess.run([sys.executable, *command, str(tmp_path / "one")], check=True, capture_output=True)
    import gantlet

    one, two = (gantlet.load(tmp_path / name).sample(4) for name in ("one", "two"))
    assert (one - two).abs().max() < 1e-4
    nameless = subprocess.run([*ranks, *command[:-1]], capture_output=True, text=True, timeout=120)
    assert nameless.returncode != 0 and "--out" in nameless.stderr
