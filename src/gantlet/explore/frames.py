"""Pictures on disk: a strip, an animation, a film."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.data import save_picture
from gantlet.data.dataset import Array
from gantlet.data.sheet import _grid

KINDS = (".png", ".gif", ".mp4")


def check(out: Path) -> None:
    """InputError for a picture of no kind that can be written here, before anything is made for it."""
    if out.suffix.lower() not in KINDS:
        raise InputError(f"--out {out}: give a .png (a strip), a .gif, or an .mp4")
    if out.suffix.lower() == ".mp4":
        _av(out)


def write(rows: Tensor, out: Path, *, fps: int = 20) -> Path:
    """Images [rows, frames, C, H, W] in -1..1: all of them in a .png, frame after frame in a .gif or an .mp4.

    Small images are enlarged by whole numbers.
    """
    check(out)
    kind = out.suffix.lower()
    if kind == ".png":
        return save_picture(rows.flatten(0, 1), out, cols=rows.shape[1])
    if not 1 <= fps <= 100:
        raise InputError(f"fps={fps}: use 1 to 100 frames a second")
    cols = math.ceil(math.sqrt(len(rows)))
    sheets = [_grid(rows[:, i], cols) for i in range(rows.shape[1])]
    _WRITERS[kind](sheets, out, fps)
    return out


def _gif(sheets: list[Array], out: Path, fps: int) -> None:
    first, *rest = [Image.fromarray(sheet) for sheet in sheets]
    out.parent.mkdir(parents=True, exist_ok=True)
    first.save(out, format="GIF", save_all=True, append_images=rest, duration=max(10, round(1000 / fps)), loop=0)


def _mp4(sheets: list[Array], out: Path, fps: int) -> None:
    """H.264, which every player knows, or MPEG-4 where that is not built in."""
    av = _av(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    height, width = (side + side % 2 for side in sheets[0].shape[:2])  # the colour planes are half as large
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    with av.open(str(out), "w") as film:
        stream: Any = film.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for sheet in sheets:
            padded = torch.nn.functional.pad(
                torch.from_numpy(sheet), (0, 0, 0, width - sheet.shape[1], 0, height - sheet.shape[0]), value=255
            )
            frame = av.VideoFrame.from_ndarray(padded.numpy(), format="rgb24")
            film.mux(stream.encode(frame))
        film.mux(stream.encode())


def _av(out: Path) -> Any:
    try:
        import av
    except ImportError as error:
        raise InputError(f'--out {out}: films need PyAV: pip install "gantlet[video]"; or write a .gif') from error
    return av


_WRITERS = {".gif": _gif, ".mp4": _mp4}
