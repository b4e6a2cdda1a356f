"""Encoded images -> arrays: what Pillow can read, in the channels and bits the file has."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from gantlet.data.dataset import Array

_SUFFIXES = "png apng jpg jpeg jpe jfif webp bmp dib gif tif tiff ppm pgm pbm pnm tga jp2 j2k ico avif"
EXTENSIONS = frozenset(f".{suffix}" for suffix in _SUFFIXES.split(" "))
UNREADABLE: tuple[type[Exception], ...] = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)

_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap height and width


class Look(NamedTuple):
    """What the header of an image says."""

    height: int
    width: int
    channels: int  # 1, 2 (grey + alpha), 3 or 4 (colour + alpha)
    bits: int  # 8 or 16, as read
    mode: str  # Pillow's name, for reports
    animated: bool = False
    narrowed: bool = False  # 16-bit colour, which Pillow reads at 8 bits


class _Mode(NamedTuple):
    channels: int
    bits: int
    convert: Callable[[Image.Image], Image.Image]


def _to(mode: str) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image if image.mode == mode else image.convert(mode)


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms  # an optional part of Pillow

    turned = ImageCms.profileToProfile(
        image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    if turned is None:
        raise ValueError("LAB could not be converted to RGB")
    return turned


_GREY, _GREY_ALPHA, _DEEP = _Mode(1, 8, _to("L")), _Mode(2, 8, _to("LA")), _Mode(1, 16, lambda image: image)
_RGB, _RGBA = _Mode(3, 8, _to("RGB")), _Mode(4, 8, _to("RGBA"))
_MODES = {"1": _GREY, "L": _GREY, "LA": _GREY_ALPHA, "La": _GREY_ALPHA}
_MODES |= {"I": _DEEP, "I;16": _DEEP, "I;16L": _DEEP, "I;16B": _DEEP, "I;16N": _DEEP}
_MODES |= {"RGB": _RGB, "RGBX": _RGB, "CMYK": _RGB, "YCbCr": _RGB, "HSV": _RGB, "P": _RGB}
_MODES |= {"RGBA": _RGBA, "RGBa": _RGBA, "PA": _RGBA, "LAB": _Mode(3, 8, _from_lab)}
_WITH_ALPHA = {
    "1": _GREY_ALPHA,
    "L": _GREY_ALPHA,
    "RGB": _RGBA,
    "P": _RGBA,
}  # where the file names a transparent colour


def _mode_of(image: Image.Image) -> _Mode:
    if "transparency" in image.info and image.mode in _WITH_ALPHA:
        return _WITH_ALPHA[image.mode]
    if image.mode not in _MODES:
        raise ValueError(f"mode {image.mode} is not supported (floats: use npy)")
    return _MODES[image.mode]


def _turned(image: Image.Image) -> bool:
    late = image.format == "PNG" and "exif" not in image.info  # asking would decode the whole picture
    return not late and image.getexif().get(0x0112, 1) in _TURNED


def _bits_in_file(image: Image.Image, head: bytes) -> int:
    """Bits of one channel as stored, where Pillow may have narrowed them (PNG and TIFF)."""
    if image.format == "PNG":
        return head[24]
    tags = getattr(image, "tag_v2", {})
    return int(max(tags.get(258, (8,)))) if tags else 8


def look(data: bytes) -> Look:
    """What the header says; any of UNREADABLE when it is no image."""
    with Image.open(io.BytesIO(data)) as image:
        mode = _mode_of(image)
        width, height = image.size[::-1] if _turned(image) else image.size
        narrowed = mode.bits == 8 and _bits_in_file(image, data[:32]) > 8
        animated = bool(getattr(image, "is_animated", False))
        return Look(height, width, mode.channels, mode.bits, image.mode, animated, narrowed)


def picture(data: bytes) -> Array:
    """The first frame, upright: uint8 or uint16 [H, W, C] with C of 1..4; any of UNREADABLE when it is damaged."""
    with Image.open(io.BytesIO(data)) as image:
        mode = _mode_of(image)
        image.load()
        upright = ImageOps.exif_transpose(image) if image.getexif().get(0x0112, 1) != 1 else image
        array = np.asarray(mode.convert(upright))
    array = array if array.ndim == 3 else array[:, :, None]
    return _deep(array) if mode.bits == 16 else array


def _deep(array: Array) -> Array:
    """Greys of more than 8 bits -> uint16, without scaling; ValueError when they do not fit."""
    if array.dtype != np.uint16 and (array.min() < 0 or array.max() > 65535):
        raise ValueError("32-bit greys do not fit 16 bits; use npy")
    return array.astype(np.uint16)
