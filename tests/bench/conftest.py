"""The benchmarks' cache is a folder of the test's, and nothing is kept beside the source."""

from __future__ import annotations

from pathlib import Path

import pytest

import cells


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANTLET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cells, "KEPT", tmp_path / "kept")
    return tmp_path / "cache"
