"""What is judged and against what: a run, a model or a set of samples, and the data it should look like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.data import Dataset, open_source
from gantlet.data.source import KNOWN, split_of
from gantlet.runs import model as models
from gantlet.runs.folder import RunFolder
from gantlet.runs.model import Model, from_hub

WEIGHTS = ("averaged", "best")
Say = Callable[[str], None]
MARK = "gantlet"  # what the Software field of a written sample begins with


@dataclass
class Judged:
    """Both sides, opened: `model` or `fake`, and the `real` training split."""

    real: Dataset
    model: Model | None = None
    fake: Dataset | None = None
    folder: Path | None = None  # of the run
    weights: str = ""
    fit: str = "crop"
    subject: dict[str, Any] = field(default_factory=dict)
    own: bool = False  # is the real data what the run was trained on?


def opened(
    fake: Any, real: Any, *, weights: str, device: str | None, say: Say, paired: bool = False, **how: Any
) -> Judged:
    """Open both sides; InputError for whatever does not fit together. Pairs need every row: nothing is held out then."""
    if weights not in WEIGHTS:
        raise InputError(f"weights={weights}: use {' or '.join(WEIGHTS)}")
    if isinstance(fake, Model):
        return _of_model(fake, real, None, None, "given", say, how)
    if isinstance(fake, str | Path) and (found := _run_or_model(Path(fake), str(fake))) is not None:
        run = RunFolder(found) if (found / "run.yaml").is_file() else None
        model = models.load(_weights(found, run, weights), device=device)
        return _of_model(model, real, run, found, weights, say, how)
    if weights != "averaged":
        raise InputError(f"weights={weights}: a set of samples has none; leave it out")
    samples = _dataset(fake, "all", say, **how)
    if real is None:
        raise InputError(f"{samples.name} is a set of samples: name the real data that it should look like with --data")
    shape = samples.spec.shape
    sides = {"size": shape[1:], "channels": shape[0]} if len(shape) == 3 else {}
    reference = _reference(real, say, split="all" if paired else "train", **{**how, **sides})
    if reference.spec.shape != shape:
        raise InputError(f"the samples are {list(shape)}, {reference.name} has {list(reference.spec.shape)}")
    told = {"name": samples.name, "real": reference.name}
    return Judged(reference, fake=samples, fit=str(how.get("fit", "crop")), subject=told)


def _run_or_model(path: Path, text: str) -> Path | None:
    """The folder of a run or of a saved model, also one from the Hub; None for a set of samples."""
    if path.name == "run.yaml":
        path = path.parent
    if any((path / name).is_file() for name in ("run.yaml", models.CONFIG)):
        return path
    base, _ = split_of(text)
    if path.exists() or base in KNOWN or Path(base).exists() or text.startswith(("toy:", "hf:")):
        return None
    return from_hub(text) if text.count("/") == 1 and not Path(text).parent.is_dir() else None


def _weights(path: Path, run: RunFolder | None, weights: str) -> Path:
    if run is None:
        if weights != "averaged":
            raise InputError(f"weights={weights}: {path} is a saved model and has one set of weights")
        return path
    folder = run.model if weights == "averaged" else run.best
    if not folder.is_dir():
        why = "it is written when training ends or is interrupted" if weights == "averaged" else (
            "they are kept while a run with sample_every > 0 scores itself"
        )  # fmt: skip
        raise InputError(f"{path}: this run has no {weights} weights yet; {why}")
    return folder


def _of_model(
    model: Model, real: Any, run: RunFolder | None, path: Path | None, weights: str, say: Say, how: dict[str, Any]
) -> Judged:
    recipe = None if run is None else run.recipe()
    if real is None and (recipe is None or recipe["data"] is None):
        raise InputError("this model does not say which data it was trained on; name it with --data")
    shape = model.spec.shape
    sides: dict[str, Any] = {}
    if recipe is not None:
        sides = {"fit": recipe["fit"], "labels": recipe["labels"], "bad_files": recipe["bad_files"]}
    sides |= how | ({"size": shape[1:], "channels": shape[0]} if len(shape) == 3 else {})
    reference = _reference(recipe["data"] if real is None and recipe is not None else real, say, **sides)
    if reference.spec.shape != shape:
        raise InputError(f"the model makes samples of {list(shape)}, {reference.name} has {list(reference.spec.shape)}")
    config = model.config
    subject = {
        "name": str(path) if path is not None else "a model",
        "real": reference.name, "recipe": config.get("recipe"), "step": config.get("step"), "images": config.get("images"),
    }  # fmt: skip
    averaged = "averaged" if config.get("averaged") else "as trained"
    told = averaged if weights != "best" else f"best-scoring ({averaged})"
    return Judged(reference, model=model, folder=None if run is None else run.path, weights=told,
                  fit=str(sides.get("fit", "crop")), subject=subject, own=real is None)  # fmt: skip


def _dataset(source: Any, split: str, say: Say, **how: Any) -> Dataset:
    if not isinstance(source, str | Path | Tensor | Dataset):
        raise InputError(f"{type(source).__name__} is no set of samples; give a SOURCE, a tensor or a data set")
    if isinstance(source, str) and source.startswith("toy:"):
        how = {k: v for k, v in how.items() if k == "labels"}
    return open_source(source, split=split, say=say, **how) if not isinstance(source, Dataset) else source


def _reference(source: Any, say: Say, *, split: str = "train", **how: Any) -> Dataset:
    """The real side; said loudly where it bears the mark of samples."""
    if isinstance(source, str | Path) and Path(source).is_dir() and _written_by_us(Path(source)):
        say(
            f"{source} HOLDS SAMPLES THAT GANTLET WROTE: the real data is named with --data, are the two sides swapped?"
        )
    return _dataset(source, split, say, **how)


def _written_by_us(folder: Path) -> bool:
    first = next(iter(sorted(folder.glob("*.png"))), None) or next(folder.glob("*/*.png"), None)
    if first is None:
        return False
    try:
        with Image.open(first) as image:
            return str(image.info.get("Software", "")).startswith(MARK)
    except OSError:
        return False
