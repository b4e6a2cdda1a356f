"""What samples of points are drawn against: the data of their run where it is at hand, else its range alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gantlet.core.errors import InputError
from gantlet.data import Dataset, View, open_source, view_of
from gantlet.data.source import split_of
from gantlet.runs.folder import RunFolder
from gantlet.runs.model import Model


def ends(dataset: Dataset) -> dict[str, Any]:
    """The axes that pictures of a run have, for its model's config; nothing for images."""
    view = view_of(dataset)
    return {} if view is None else {"axes": {"low": list(view.low), "high": list(view.high)}}


def behind(model: Model, run: str | Path) -> View | None:
    """The axes of the run's own pictures, and real points where the data is a toy or a file that is still what it was.

    None for images, and for a model that says nothing of its data.
    """
    if len(model.spec.shape) != 1:
        return None
    data = _data(model, Path(run))
    if data is not None:
        return view_of(data)
    told = model.config.get("axes")
    return None if told is None else View(tuple(told["low"]), tuple(told["high"]))


def _data(model: Model, folder: Path) -> Dataset | None:
    """What the model was trained on, if it opens without a download and is the same."""
    facts: dict[str, Any] = {}
    source = model.config.get("data")  # a path of it counts from a folder that nobody knows any more
    if (folder / "run.yaml").is_file():
        facts = RunFolder(folder).read()
        source = (facts.get("settings") or {}).get("data")
    toy = str(source).startswith("toy:")
    if not (toy or (facts and source and Path(split_of(str(source))[0]).exists())):
        return None
    try:
        data = open_source(str(source))
    except (InputError, OSError):
        return None
    was = (facts.get("data") or {}).get("fingerprint", data.fingerprint)
    return data if data.fingerprint == was and data.spec.shape == model.spec.shape else None
