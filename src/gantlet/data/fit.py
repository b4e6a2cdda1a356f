"""How a picture meets the shape of the set: channels, aspect, size; alpha is premultiplied while pixels are mixed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gantlet.core.errors import InputError, nearest
from gantlet.data.dataset import Array

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, what "grey" means in Pillow
_FULL = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}


def crop(image: Tensor, height: int, width: int) -> Tensor:
    """The largest centred part of the target's aspect; [C, H, W]."""
    _, h, w = image.shape
    scale = min(h / height, w / width)
    ch, cw = min(h, max(1, round(height * scale))), min(w, max(1, round(width * scale)))
    top, left = (h - ch) // 2, (w - cw) // 2
    return image[:, top : top + ch, left : left + cw]


def pad(image: Tensor, height: int, width: int) -> Tensor:
    """Zeros (black, or clear where there is alpha) around it up to the target's aspect; [C, H, W]."""
    _, h, w = image.shape
    scale = max(h / height, w / width)
    ph, pw = max(h, round(height * scale)) - h, max(w, round(width * scale)) - w
    return F.pad(image, (pw // 2, pw - pw // 2, ph // 2, ph - ph // 2))


def stretch(image: Tensor, height: int, width: int) -> Tensor:
    """As it is: height and width are scaled on their own."""
    return image


FITS: dict[str, Callable[[Tensor, int, int], Tensor]] = {"crop": crop, "pad": pad, "stretch": stretch}


@dataclass(frozen=True)
class Plan:
    """What every picture of a set becomes: [channels, height, width] of `dtype`."""

    height: int
    width: int
    channels: int
    dtype: np.dtype[np.generic]
    fit: str = "crop"

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise InputError(f"fit={self.fit!r} is not known; {nearest(self.fit, FITS)}")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width

    @property
    def nbytes(self) -> int:
        """Bytes of one row."""
        return self.channels * self.height * self.width * self.dtype.itemsize

    def __call__(self, picture: Array) -> Array:
        """uint8, uint16 or float (-1..1) [H, W, C] -> `dtype` [channels, height, width]."""
        same = picture.shape == (self.height, self.width, self.channels)
        if same and picture.dtype == self.dtype:
            return np.ascontiguousarray(picture.transpose(2, 0, 1))
        planes = torch.from_numpy(np.array(picture.transpose(2, 0, 1), order="C"))
        if planes.dtype == torch.uint8 and self.dtype == np.uint8 and picture.shape[2] == self.channels in (1, 3):
            return self._small(planes)
        unit = convert(_from(planes, picture.dtype), self.channels)
        if unit.shape[1:] != (self.height, self.width):
            unit = _resize_unit(FITS[self.fit](unit, self.height, self.width), self.height, self.width)
        return _into(unit, self.dtype)

    def _small(self, planes: Tensor) -> Array:
        """The quick path: opaque 8-bit pictures are resized in 8 bits."""
        part = FITS[self.fit](planes, self.height, self.width).contiguous()
        out: Array = _interpolate(part, self.height, self.width).numpy()
        return out


def _interpolate(x: Tensor, height: int, width: int) -> Tensor:
    """[C, H, W] -> [C, height, width], bicubic, low-passed when it shrinks (the same filter as Pillow's)."""
    if x.shape[1:] == (height, width):
        return x
    return F.interpolate(x.unsqueeze(0), (height, width), mode="bicubic", antialias=True).squeeze(0)


def _resize_unit(x: Tensor, height: int, width: int) -> Tensor:
    """Floats in 0..1; a clear pixel's colour has no say in its neighbours'."""
    if x.shape[0] in (1, 3):
        return _interpolate(x, height, width).clamp(0, 1)
    alpha = x[-1:]
    mixed = _interpolate(torch.cat([x[:-1] * alpha, alpha]), height, width).clamp(0, 1)
    alpha = mixed[-1:]
    return torch.cat([(mixed[:-1] / alpha.clamp(min=1e-6)).clamp(0, 1), alpha])


def convert(x: Tensor, channels: int) -> Tensor:
    """Floats in 0..1 [C, H, W] -> `channels`: alpha is laid over white or added opaque, grey is luma or repeated."""
    if x.shape[0] == channels:
        return x
    colour, alpha = (x[:-1], x[-1:]) if x.shape[0] in (2, 4) else (x, None)
    keep_alpha = channels in (2, 4)
    if alpha is not None and not keep_alpha:
        colour = colour * alpha + (1 - alpha)
    wanted = 1 if channels in (1, 2) else 3
    if wanted < colour.shape[0]:
        colour = (colour * colour.new_tensor(LUMA).view(3, 1, 1)).sum(0, keepdim=True)
    colour = colour.expand(wanted, -1, -1)
    if not keep_alpha:
        return colour
    return torch.cat([colour, torch.ones_like(colour[:1]) if alpha is None else alpha])


def _from(x: Tensor, dtype: np.dtype[np.generic]) -> Tensor:
    full = _FULL.get(dtype)
    return x.float().add(1).div(2) if full is None else x.float().div(full)


def _into(x: Tensor, dtype: np.dtype[np.generic]) -> Array:
    full = _FULL.get(dtype)
    if full is None:
        out: Array = x.mul(2).sub(1).numpy().astype(dtype)
        return out
    whole: Array = x.mul(full).round().numpy().astype(dtype)
    return whole
