"""docs/extending.md does what it says: the file it shows is written, and its commands are run, only shorter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
GANTLET = str(Path(sys.executable).with_name("gantlet"))


FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, flags=re.S))
COMMANDS = "".join(re.findall(r"```bash\n(.*?)```", PAGE, flags=re.S))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_page_s_file_and_commands_work(home: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GANTLET_CACHE": str(home / "cache")}
    said = {}
    for command in [*COMMANDS.splitlines(), *(f"python {name}" for name in ("from_code.py", "chase.py"))]:
        short = re.sub(r"--steps \d+", "--steps 2", command).replace("gantlet ", f"{GANTLET} ", 1)
        short = short.replace("python ", f"{sys.executable} ", 1) if short.startswith("python") else short
        done = subprocess.run(short, shell=True, cwd=home, env=environment, capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        said[command.split()[1]] = done.stdout
    assert "pyramid" in said["list"]
    assert "use: pyramid" in said["show"]
    assert (home / "pyramid.png").is_file()


def test_the_page_s_networks_keep_the_laws(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes that are not square, and rows alone: what the tests over the registry ask of every member."""
    import torch

    from gantlet import Spec, create
    from gantlet.api import plug_in
    from gantlet.core import registry

    monkeypatch.chdir(home)
    monkeypatch.syspath_prepend(str(home))
    try:
        plug_in(["mine"])
        for shape in [(1, 8, 8), (3, 17, 31), (2, 4, 5)]:
            G, D = (create("pyramid", Spec(shape), kind=kind, width=4) for kind in ("generator", "critic"))
            x = G(torch.randn(3, 32))
            assert x.shape == (3, *shape)
            assert torch.allclose(D(x).logits[:1], D(x[:1]).logits, atol=1e-6)
    finally:
        for kind in ("generator", "critic", "recipe"):
            registry.KINDS[kind].parts.pop("pyramid", None)
        sys.modules.pop("mine", None)
