"""Decoding and fitting: every mode, both depths, alpha, orientation, aspect."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_files import noise, png, save_pngs
from PIL import Image

from gantlet.core.errors import InputError
from gantlet.data import open_source, to_uint, to_unit
from gantlet.data.decode import look, picture
from gantlet.data.fit import Plan


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format=form, **options)
    return out.getvalue()


def rgb(size: tuple[int, int] = (6, 4)) -> Image.Image:
    return Image.fromarray(noise((size[1], size[0], 3)))


MODES = {
    "1": (encoded(rgb().convert("1")), 1),
    "L": (encoded(rgb().convert("L")), 1),
    "LA": (encoded(rgb().convert("LA")), 2),
    "RGB": (encoded(rgb()), 3),
    "RGBA": (encoded(rgb().convert("RGBA")), 4),
    "P": (encoded(rgb().convert("P", palette=Image.Palette.ADAPTIVE)), 3),
    "P with a clear colour": (encoded(rgb().convert("P", palette=Image.Palette.ADAPTIVE), transparency=0), 4),
    "RGB with a clear colour": (encoded(rgb(), transparency=(1, 2, 3)), 4),
    "L with a clear colour": (encoded(rgb().convert("L"), transparency=9), 2),
    "CMYK": (encoded(rgb().convert("CMYK"), "TIFF"), 3),
    "CMYK JPEG": (encoded(rgb().convert("CMYK"), "JPEG"), 3),
    "YCbCr": (encoded(rgb().convert("YCbCr"), "TIFF"), 3),
    "LAB": (encoded(Image.frombytes("LAB", (6, 4), noise((72,)).tobytes()), "TIFF"), 3),
    "I;16": (encoded(Image.fromarray(noise((4, 6), dtype=np.uint16))), 1),
    "I": (encoded(Image.fromarray(noise((4, 6), dtype=np.uint16).astype(np.int32)), "TIFF"), 1),
    "BMP": (encoded(rgb(), "BMP"), 3),
    "WEBP": (encoded(rgb(), "WEBP"), 3),
    "GIF": (encoded(rgb().convert("P"), "GIF"), 3),
    "PPM": (encoded(rgb(), "PPM"), 3),
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_decodes_to_what_its_header_promises(name: str) -> None:
    data, channels = MODES[name]
    seen, array = look(data), picture(data)
    assert (seen.height, seen.width, seen.channels) == (4, 6, channels) == array.shape
    assert array.dtype == (np.uint16 if seen.bits == 16 else np.uint8)


def test_lossless_colours_arrive_unchanged() -> None:
    image = rgb()
    assert np.array_equal(picture(encoded(image)), np.asarray(image))
    assert np.array_equal(picture(encoded(image.convert("L")))[..., 0], np.asarray(image.convert("L")))


def test_lab_becomes_rgb() -> None:
    lab = Image.frombytes("LAB", (4, 4), bytes([255, 0, 0] * 16))  # white
    assert picture(encoded(lab, "TIFF")).min() > 250


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(rgb((6, 4)), "JPEG", exif=exif)
    seen = look(data)
    assert (seen.height, seen.width) == (6, 4) == picture(data).shape[:2]


def test_animations_show_their_first_frame(tmp_path: Path, said: list[str]) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    for i in range(3):
        frames[i].save(tmp_path / f"{i}.gif", save_all=True, append_images=frames)
    assert look((tmp_path / "0.gif").read_bytes()).animated
    x = open_source(tmp_path, say=said.append).rows(torch.arange(1)).x
    assert x[0, :, 0, 0].tolist() == [1, -1, -1]
    assert any("animated" in line for line in said)


def test_sixteen_bit_colour_is_named_when_it_is_narrowed(tmp_path: Path, said: list[str]) -> None:
    """Pillow reads 16-bit RGB at 8 bits; that is said."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    for i in range(3):
        rows = b"".join(b"\0" + noise((8, 3), i, np.uint16).tobytes() for _ in range(8))
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
        data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        (tmp_path / f"{i}.png").write_bytes(data)
    assert look((tmp_path / "0.png").read_bytes()).narrowed
    open_source(tmp_path, say=said.append)
    assert any("16-bit colour images are read at 8 bits" in line for line in said)


def test_sixteen_bit_round_trip(tmp_path: Path) -> None:
    arrays = [noise((8, 8), i, np.uint16) for i in range(4)]
    for i, array in enumerate(arrays):
        (tmp_path / f"{i}.png").write_bytes(png(array))
    data = open_source(f"{tmp_path}#all")
    x = data.rows(torch.arange(4)).x
    assert x.dtype == torch.float32 and data.spec.shape == (1, 8, 8)
    back = to_uint(x, torch.uint16).numpy()
    assert all(np.array_equal(back[i, 0], arrays[i]) for i in range(4))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_units_and_back_are_the_identity(dtype: torch.dtype) -> None:
    every = torch.arange(256 if dtype == torch.uint8 else 65536, dtype=torch.int32).to(dtype)
    x = to_unit(every)
    assert float(x.min()) == -1 and float(x.max()) == 1
    assert torch.equal(to_uint(x, dtype).to(torch.int32), every.to(torch.int32))
    assert to_uint(torch.tensor([-3.0, 3.0]), torch.uint8).tolist() == [0, 255]


def test_a_32_bit_grey_that_does_not_fit_is_unreadable() -> None:
    data = encoded(Image.fromarray(np.full((4, 4), 70_000, np.int32)), "TIFF")
    with pytest.raises(ValueError, match="do not fit 16 bits"):
        picture(data)


# ---- fitting ------------------------------------------------------------------------------------------------------


def plan(height: int, width: int, channels: int, dtype: Any = np.uint8, fit: str = "crop") -> Plan:
    return Plan(height, width, channels, np.dtype(dtype), fit)


def test_clear_red_does_not_bleed_into_opaque_blue() -> None:
    image = np.zeros((16, 16, 4), np.uint8)
    image[:, :8] = (255, 0, 0, 0)
    image[:, 8:] = (0, 0, 255, 255)
    out = plan(6, 6, 4)(image)
    shown = out[3] > 0
    assert out[0][shown].max() <= 1 and out[2][shown].min() >= 254
    assert 0 < out[3, 0, 2] < 255 or 0 < out[3, 0, 3] < 255  # the edge is soft


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_plain_colour_stays_itself_at_any_size(dtype: Any, channels: int) -> None:
    value = 0.25 if dtype == np.float32 else 77
    image = np.full((12, 20, channels), value, dtype)
    for fit in ("crop", "stretch"):
        out = plan(5, 31, channels, dtype, fit)(image)
        assert out.shape == (channels, 5, 31) and out.dtype == dtype
        assert np.allclose(out.astype(np.float64), value, atol=1e-5 if dtype == np.float32 else 0)


def test_resizing_agrees_with_pillow() -> None:
    """Smooth 8-bit pictures shrink as Pillow's bicubic shrinks them."""
    y, x = np.mgrid[:64, :48]
    image = np.stack([(y * 4) % 256, (x * 5) % 256, (x + y) * 2], 2).astype(np.uint8)
    ours = plan(20, 15, 3)(image).transpose(1, 2, 0).astype(int)
    theirs = np.asarray(Image.fromarray(image).resize((15, 20), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(ours - theirs).max() <= 2


@pytest.mark.parametrize("shape", [(8, 16, 3), (16, 8, 3)])
def test_crop_takes_the_middle_pad_shows_everything(shape: tuple[int, ...]) -> None:
    image = np.full(shape, 200, np.uint8)
    wide = shape[1] > shape[0]
    (image[:, :4] if wide else image[:4])[:] = 10  # a band at the border
    assert plan(8, 8, 3)(image).min() == 200
    padded = plan(8, 8, 3, fit="pad")(image)
    assert (padded[:, 0] if wide else padded[:, :, 0]).max() == 0
    assert plan(8, 8, 3, fit="stretch")(image).min() < 60


def test_conversions_are_the_documented_ones() -> None:
    grey = np.full((4, 4, 1), 100, np.uint8)
    assert plan(4, 4, 3)(grey).tolist() == np.full((3, 4, 4), 100).tolist()
    assert plan(4, 4, 2)(grey)[1].min() == 255
    colour = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    assert plan(4, 4, 1)(colour)[0, 0, 0] == 76  # 0.299 * 255
    assert plan(4, 4, 4)(colour)[:, 0, 0].tolist() == [255, 0, 0, 255]
    half = np.full((4, 4, 4), (255, 0, 0, 51), np.uint8)  # a fifth of red over white
    assert plan(4, 4, 3)(half)[:, 0, 0].tolist() == [255, 204, 204]
    assert plan(4, 4, 2)(half)[:, 0, 0].tolist() == [76, 51]
    assert plan(4, 4, 1, np.uint16)(grey)[0, 0, 0] == 100 * 257


@pytest.mark.parametrize(
    ("modes", "channels"),
    [("L", 1), ("L LA", 2), ("L RGB", 3), ("LA RGB", 4), ("L RGBA", 4), ("RGB RGBA", 4), ("RGB P", 3)],
)
def test_mixed_modes_take_the_fewest_channels_that_lose_nothing(
    tmp_path: Path, said: list[str], modes: str, channels: int
) -> None:
    for k, mode in enumerate(modes.split() * 3):
        (tmp_path / f"{k}.png").write_bytes(encoded(Image.fromarray(noise((8, 8, 3), k)).convert(mode)))
    assert open_source(tmp_path, say=said.append).spec.shape == (channels, 8, 8)
    mixed = len({look(p.read_bytes()).channels for p in tmp_path.iterdir()}) > 1
    assert any("mixed modes" in line for line in said) == mixed
    for wanted in (1, 2, 3, 4):
        assert open_source(tmp_path, channels=wanted).spec.shape == (wanted, 8, 8)


def test_mixed_depths_keep_sixteen_bits(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(noise((8, 8), 1, np.uint16)))
    (tmp_path / "b.png").write_bytes(png(np.full((8, 8), 255, np.uint8)))
    x = open_source(f"{tmp_path}#all").read(torch.arange(2))
    assert x.dtype == torch.uint16 and x[1].to(torch.int32).unique().tolist() == [65535]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (12, 20), (33, 7)])
def test_one_size_is_kept_whatever_it_is(tmp_path: Path, said: list[str], height: int, width: int) -> None:
    save_pngs(tmp_path, 4, (height, width, 3))
    assert open_source(tmp_path, say=said.append).spec.shape == (3, height, width)
    assert all("preparing" in line for line in said)


def test_mixed_sizes_meet_at_a_sensible_one_and_it_is_said(tmp_path: Path, said: list[str]) -> None:
    for i, shape in enumerate([(40, 50, 3), (70, 60, 3), (90, 300, 3)]):
        save_pngs(tmp_path, 1, shape, first=i)
    assert open_source(tmp_path, say=said.append).spec.shape == (3, 32, 32)  # median short side 60
    assert any("3 sizes, median short side 60: using 32 x 32" in line for line in said)
    assert open_source(tmp_path, size=48).spec.shape == (3, 48, 48)
    assert open_source(tmp_path, size=(20, 64), say=said.append).spec.shape == (3, 20, 64)
    assert any("are enlarged" in line for line in said)


@pytest.mark.parametrize("size", [0, 3, 5000, (8, 3), (4097, 64)])
def test_a_size_that_cannot_be_met_is_refused(size: Any) -> None:
    with pytest.raises(InputError, match="a side must be 4 to 4096"):
        open_source("digits", size=size)


def test_an_unknown_fit_or_channel_count_is_refused() -> None:
    with pytest.raises(InputError, match=r"fit='corp'.*did you mean 'crop'"):
        open_source("digits", fit="corp")
    with pytest.raises(InputError, match="channels=5"):
        open_source("digits", channels=5)


def test_images_too_small_as_they_are_ask_for_a_size(tmp_path: Path) -> None:
    save_pngs(tmp_path, 4, (3, 3, 3))
    with pytest.raises(InputError, match="give size="):
        open_source(tmp_path)
    assert open_source(tmp_path, size=8).spec.shape == (3, 8, 8)
