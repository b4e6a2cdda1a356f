"""The benchmarks are scripts beside the package: their folder is put on the path, their cache is a folder of the test's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANTLET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
