"""Samples as pictures: fixed latents drawn on the way, and what `gantlet sample` writes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import gantlet
from gantlet.core.errors import InputError
from gantlet.core.game import Game, Spec
from gantlet.data import save_picture, to_uint
from gantlet.runs.model import CHUNK, Model

POINTS = 5_000  # a scatter of fewer says little


def can_be_drawn(spec: Spec) -> bool:
    """Images of up to four channels and points in the plane have a picture."""
    return (len(spec.shape) == 3 and spec.shape[0] <= 4) or spec.shape == (2,)


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


@torch.no_grad()
def draw(game: Game, path: Path, *, n: int, seed: int) -> Path:
    """Samples 0..n-1 of a seed as one picture: the same latents at every step, so that progress can be seen."""
    chunks = [game.latent(min(CHUNK, n - i), seed=seed, first=i) for i in range(0, n, CHUNK)]
    x = torch.cat([game.generate(z).float().cpu() for z in chunks])
    if x.dim() == 2 and n < POINTS:
        return draw(game, path, n=POINTS, seed=seed)
    return save_picture(x, path, cols=math.ceil(math.sqrt(n)))


def write(model: Model, *, n: int, seed: int, out: Path) -> str:
    """n samples as a .png grid, a .npy array, or a folder of single images; says where they are."""
    suffix = out.suffix.lower()
    if suffix not in ("", ".png", ".npy"):
        raise InputError(f"--out {out}: give a .png (one grid), a .npy (the numbers), or a folder (single images)")
    if suffix == ".png":
        return str(draw(model.game, out, n=n, seed=seed))
    if suffix == ".npy":
        out.parent.mkdir(parents=True, exist_ok=True)
        np.save(out, model.sample(n, seed=seed).numpy())
        return str(out)
    return f"{_singles(model, n, seed, out)} ({n} images)"


def marked() -> PngInfo:
    """Says in a picture that it is a sample, so that it is not taken for data."""
    info = PngInfo()
    info.add_text("Software", f"gantlet {gantlet.__version__} sample")
    return info


def _singles(model: Model, n: int, seed: int, out: Path) -> Path:
    if len(model.spec.shape) != 3:
        raise InputError(f"--out {out}: single images of points cannot be written; give a .png or a .npy")
    out.mkdir(parents=True, exist_ok=True)
    i = 0
    for batch in model.batches(n, seed=seed):
        for image in to_uint(batch).permute(0, 2, 3, 1).numpy():
            picture = Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image)
            picture.save(out / f"{i:06d}.png", pnginfo=marked())
            i += 1
    return out
