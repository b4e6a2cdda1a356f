"""Samples as pictures: fixed latents drawn on the way, and what `gantlet sample` writes."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

import gantlet
from gantlet.core.errors import InputError
from gantlet.core.game import Game, Spec
from gantlet.data import Dataset, View, save_picture, to_uint, view_of
from gantlet.data.sheet import POINTS
from gantlet.runs.model import CHUNK, Classes, Model

COLUMNS = 16  # classes side by side in a grid; more of them have a row each
LABELS = "labels.csv"


def can_be_drawn(spec: Spec) -> bool:
    """Images of up to four channels and points have a picture."""
    return (len(spec.shape) == 3 and spec.shape[0] <= 4) or len(spec.shape) == 1


def options_for(spec: Spec) -> str:
    """How to call `gantlet sample` for this kind of data."""
    if not can_be_drawn(spec):
        return "-n 64 --out samples.npy"
    return f"-n {POINTS} --out points.png" if len(spec.shape) == 1 else "-n 64 --out grid.png"


@contextmanager
def looked_at(game: Game) -> Iterator[None]:
    """What generates in evaluation mode, and back: looking moves no running statistics."""
    modules = [m for part in game.made_of().values() for m in part.modules()]
    before = [(m, m.training) for m in modules]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def draw_progress(game: Game, dataset: Dataset, path: Path, *, n: int, seed: int) -> Path:
    """The picture of a step: n samples; of points at least 5,000, on the axes of the data and before some of it."""
    view = view_of(dataset)
    return draw(game, path, n=n if view is None else max(n, POINTS), seed=seed, view=view)


@torch.no_grad()
def draw(
    game: Game, path: Path, *, n: int, seed: int, classes: Sequence[int] | None = None, view: View | None = None
) -> Path:
    """Samples 0..n-1 of a seed as one picture: the same latents at every step, so that progress can be seen.

    Points are seen against `view`. In the grid of a game that is told the class a column is of one class, of these or of
    all; where they are more than 16 a row is, of the first of them.
    """
    asked = list(range(game.classes)) if classes is None else list(classes)
    y, cols = _laid_out(asked, n)
    chunks = []
    for first in range(0, n, CHUNK):
        z = game.latent(min(CHUNK, n - first), seed=seed, first=first)
        given = () if y is None else (y[first : first + len(z)].to(z.device),)
        chunks.append(game.generate(z, *given).float().cpu())
    return save_picture(torch.cat(chunks), path, cols=cols, view=view)


def _laid_out(classes: list[int], n: int) -> tuple[Tensor | None, int]:
    """The class of each of n samples, int64 [n], and the columns of their grid, which is about as high as it is wide."""
    side = math.ceil(math.sqrt(n))
    if not classes:
        return None, side
    row = torch.arange(n)
    if len(classes) > COLUMNS:
        return torch.tensor(classes)[row // side % len(classes)], side
    return torch.tensor(classes)[row % len(classes)], len(classes) * max(1, round(side / len(classes)))


def write(
    model: Model, *, n: int, seed: int, out: Path, classes: Classes | None = None, labels: bool = False,
    view: View | None = None,
) -> str:  # fmt: skip
    """n samples as a .png grid, a .npy array, or a folder of single images; says where they are.

    A model that is told the class writes folder/CLASS/000000.png; with `labels` also folder/labels.csv. A picture of
    points is seen against `view`. InputError for a folder that holds something: old samples would be taken for new ones.
    """
    suffix = out.suffix.lower()
    if suffix not in ("", ".png", ".npy"):
        raise InputError(f"--out {out}: give a .png (one grid), a .npy (the numbers), or a folder (single images)")
    if labels and (suffix or not model.class_names):
        why = f"--out {out} is one file; give a folder" if suffix else "this model knows no classes; leave it out"
        raise InputError(f"--labels: {why}")
    asked = None if classes is None else model.numbers_of(classes)
    if suffix == ".png":
        return str(draw(model.game, out, n=n, seed=seed, classes=asked, view=view))
    if suffix == ".npy":
        out.parent.mkdir(parents=True, exist_ok=True)
        np.save(out, model.sample(n, seed=seed, classes=asked).numpy())
        return str(out)
    _singles(model, n, seed, out, asked, labels)
    return f"{out} ({n} images)"


def _refuse_used(out: Path) -> None:
    """Nothing is taken away that is not ours to take, and what an earlier call left is not mixed with this one's."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: this is a file; name a folder, or a .png or a .npy")
    held = sum(not path.name.startswith(".") for path in out.iterdir()) if out.exists() else 0
    if held:
        raise InputError(
            f"--out {out}: the folder is not empty ({held} in it), and old samples would be taken for new ones; "
            "name a new folder, or empty this one first"
        )


def marked() -> PngInfo:
    """Says in a picture that it is a sample, so that it is not taken for data."""
    info = PngInfo()
    info.add_text("Software", f"gantlet {gantlet.__version__} sample")
    return info


def _singles(model: Model, n: int, seed: int, out: Path, classes: list[int] | None, labels: bool) -> None:
    if len(model.spec.shape) != 3:
        raise InputError(f"--out {out}: single images of points cannot be written; give a .png or a .npy")
    _refuse_used(out)
    names, folders = model.class_names, folders_of(model.class_names)
    for folder in folders or [""]:
        (out / folder).mkdir(parents=True, exist_ok=True)
    written: list[tuple[str, str]] = []
    for batch in model.batches(n, seed=seed, classes=classes):
        known = [None] * len(batch.x) if batch.y is None or not names else batch.y.tolist()
        for image, y in zip(to_uint(batch.x).permute(0, 2, 3, 1).numpy(), known, strict=True):
            name = f"{len(written):06d}.png" if y is None else f"{folders[y]}/{len(written):06d}.png"
            _picture(image).save(out / name, pnginfo=marked())
            written.append((name, "" if y is None else names[y]))
    if labels:
        with (out / LABELS).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("file", "label"), *written])


def _picture(image: Any) -> Image.Image:
    """uint8 [H, W, C] -> a picture"""
    return Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image)


def folders_of(names: Sequence[str]) -> list[str]:
    """A folder's name for each class: its own, less what no folder may be called; the number before it where two are."""
    plain = [re.sub(r"[^\w .+()-]", "_", name).strip(" .") for name in names]
    alone = len({name.lower() for name in plain} - {""}) == len(plain)
    return plain if alone else [f"{i}-{name}" for i, name in enumerate(plain)]
