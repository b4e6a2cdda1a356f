"""A cache of its own for every test, and files made on the spot."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of this test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("GANTLET_CACHE", str(folder))
    return folder


@pytest.fixture
def said() -> list[str]:
    """What `say=said.append` collects."""
    return []
