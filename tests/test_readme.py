"""Every command and every piece of Python in the README runs as it is written, only shorter."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
GANTLET = str(Path(sys.executable).with_name("gantlet"))  # the console script, as a user has it


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def commands():
    lines = [line.partition("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [line.removeprefix("pip install -c constraints.txt . && ") for line in lines if "gantlet " in line]


def shorter(command):
    """The same command with a handful of steps."""
    command = re.sub(r"--steps \d+", "", command)
    resumed = "--resume" in command
    command = command.replace("gantlet ", f"{GANTLET} ", 1)
    if " evaluate " in command:
        return f"{command} -n 40 --seeds 2"
    return f"{command} --steps {4 if resumed else 2} --device cpu" if " train " in command else command


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """An empty folder, but for photos of several shapes and the README's own module."""
    home = tmp_path_factory.mktemp("home")
    (home / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(120):
        size = (24, 18 + i % 3, 3)
        Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(home / "photos" / f"{i}.png")
    (home / "mine.py").write_text(next(b for b in blocks("python") if b.startswith("# mine.py")))
    return home


def test_the_commands_run_in_order(home):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GANTLET_CACHE": str(home / "cache")}
    found = commands()
    assert len(found) >= 7 and found[0].startswith("gantlet train auto")
    for command in found:
        done = subprocess.run(
            shorter(command), shell=True, cwd=home, env=environment, capture_output=True, text=True, timeout=250
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert (home / "grid.png").is_file() and (home / "runs" / "digits" / "model").is_dir()


def test_the_python_runs(home, monkeypatch):
    monkeypatch.chdir(home)
    code = next(b for b in blocks("python") if "gantlet.train" in b)
    names = {}
    exec(code.replace("steps=300", "steps=3"), names)
    assert names["x"].shape == (16, 1, 8, 8)


def test_the_table_names_the_recipes_there_are():
    import gantlet.recipes  # noqa: F401 (importing registers)
    from gantlet.core import registry

    rows = re.findall(r"^\|(.*)\|$", README[README.index("## Recipes") :], flags=re.M)
    named = [name for row in rows for name in re.findall(r"`([\w-]+)`", row)]
    assert sorted(named) == sorted(registry.recipe.parts)
