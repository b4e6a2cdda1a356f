"""States on disk: what was saved comes back, what is damaged is noticed, what was good stays."""

import json
import resource
import subprocess
import sys

import pytest
import torch

from gantlet.core.errors import StateError
from gantlet.runs import checkpoint


def record(value: float = 1.0):
    w = torch.full((2, 3, 4, 4), value).to(memory_format=torch.channels_last)
    return {"game": {"w": w, "same": w}, "averages": {}, "players": {"G": {"opt": {0: {"step": torch.tensor(3.0)}}}},
            "now": {"step": 3, "images": 12, "seed": 0}, "none": None, "text": "a"}  # fmt: skip


def test_a_record_comes_back_as_it_was(tmp_path):
    checkpoint.save(record(), tmp_path, 3)
    back, path = checkpoint.load(tmp_path, print)
    assert path.name == "step-00000003"
    assert torch.equal(back["game"]["w"], record()["game"]["w"])
    assert back["now"] == record()["now"] and back["none"] is None and back["text"] == "a"
    assert back["players"]["G"]["opt"]["0"]["step"] == 3


def test_no_pickles(tmp_path):
    path = checkpoint.save(record(), tmp_path, 1)
    assert {p.name for p in path.iterdir()} == {"tensors.safetensors", "state.json", "manifest.json"}
    with pytest.raises(TypeError, match="not set"):
        checkpoint.flatten({"a": {1, 2}})


def test_the_last_two_are_kept(tmp_path):
    for step in range(1, 6):
        checkpoint.save(record(step), tmp_path, step)
    assert [p.name for p in checkpoint.states(tmp_path)] == ["step-00000005", "step-00000004"]


def damage_truncate(path):
    file = path / "tensors.safetensors"
    file.write_bytes(file.read_bytes()[:-7])


def damage_flip(path):
    file = path / "tensors.safetensors"
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(bytes(data))


def damage_json(path):
    (path / "state.json").write_text("{}")


def damage_manifest(path):
    (path / "manifest.json").unlink()


@pytest.mark.parametrize("damage", [damage_truncate, damage_flip, damage_json, damage_manifest])
def test_a_damaged_state_is_noticed_and_the_one_before_it_used(tmp_path, damage):
    checkpoint.save(record(1.0), tmp_path, 1)
    damage(checkpoint.save(record(2.0), tmp_path, 2))
    said = []
    back, path = checkpoint.load(tmp_path, said.append)
    assert path.name == "step-00000001" and back["game"]["w"][0, 0, 0, 0] == 1.0
    assert "step-00000002 is damaged" in said[0] and "step-00000001" in said[-1]
    damage(path)
    with pytest.raises(StateError, match="no saved state is undamaged"):
        checkpoint.load(tmp_path, said.append)


def test_nothing_saved_says_so(tmp_path):
    with pytest.raises(StateError, match="without --resume"):
        checkpoint.load(tmp_path, print)


FULL_DISK = """
import sys, resource, torch
from pathlib import Path
from gantlet.runs import checkpoint
from gantlet.core.errors import StateError
folder = Path(sys.argv[1])
checkpoint.save({"game": {"w": torch.ones(10)}}, folder, 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    checkpoint.save({"game": {"w": torch.ones(1_000_000)}}, folder, 2)
except StateError as error:
    print(error)
    sys.exit(7)
"""


def test_a_full_disk_leaves_the_previous_state_intact(tmp_path):
    """A file size limit stops the write midway, as a full disk does."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 7, done.stderr
    assert "could not save" in done.stdout and "step-00000001" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]
    back, _ = checkpoint.load(tmp_path, print)
    assert torch.equal(back["game"]["w"], torch.ones(10))


def test_differences_are_named():
    other = record()
    other["game"] = {"w": torch.zeros(5), "new": torch.zeros(1)}
    found = checkpoint.differences(record(), other)
    assert "game/new: only in the saved state" in found
    assert "game/same: not in the saved state" in found
    assert any(line.startswith("game/w: [5] saved, [2, 3, 4, 4] here") for line in found)


def test_the_manifest_is_json(tmp_path):
    path = checkpoint.save(record(), tmp_path, 1)
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["tensors.safetensors"]["sha256"] == checkpoint.sha256(path / "tensors.safetensors")
