"""Spectra: closed forms, what they see that a distance of thumbnails does not, and what they refuse."""

from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F
from digit_rows import Digits
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.metrics.about import about_of
from gantlet.metrics.features import Features
from gantlet.metrics.frechet import fd
from gantlet.metrics.sources import Kept, dealt, without
from gantlet.metrics.spectrum import FLOOR, checkerboard, lattice, power, powers_of, rings, spectrum, standing_out

SIZES = [(8, 8), (9, 7), (12, 6), (5, 10), (4, 30)]
each_size = pytest.mark.parametrize(("h", "w"), SIZES)


def photos(n: int = 200, side: int = 32, channels: int = 1) -> Tensor:
    """Noise whose amplitude falls as 1 / f, as that of photos does, in -1..1."""
    f = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None]).clamp(min=1 / side)
    x = torch.fft.irfft2(torch.fft.rfft2(torch.randn(n, channels, side, side)) / (side * f), s=(side, side))
    return (x * 0.5).clamp(-1, 1)


def whole(h: int, w: int) -> Tensor:
    """Cycles per pixel at every place of the full plane, [H, W]."""
    fy, fx = (torch.fft.fftfreq(n, dtype=torch.float64) for n in (h, w))
    return torch.hypot(fy[:, None], fx[None])


# ---- by hand ------------------------------------------------------------------------------------------------------


@each_size
def test_nothing_is_lost(h: int, w: int) -> None:
    x = torch.rand(3, 2, h, w) * 2 - 1
    each, (_, weight) = power(x), rings(h, w)
    assert (each * weight).sum((1, 2)).tolist() == pytest.approx(x.double().square().sum((1, 2, 3)).div(2).tolist())


@each_size
def test_rings_are_those_of_the_full_plane(h: int, w: int) -> None:
    x = torch.rand(1, 1, h, w) * 2 - 1
    full = torch.fft.fft2(x[0, 0].double()).abs().square() / (h * w)
    ring = (whole(h, w) * min(h, w) + 0.5 + 1e-9).floor().clamp(min=1)
    ring[0, 0] = 0
    want = [10 * math.log10(float(full[ring == k].mean()) + FLOOR) for k in range(1, int(ring.max()) + 1)]
    assert powers_of(x).level.tolist() == pytest.approx(want, rel=1e-4)


def test_one_wave_is_in_one_ring() -> None:
    wave = 0.5 * torch.cos(2 * math.pi * 3 * torch.arange(16) / 16).expand(1, 1, 16, 16)
    got = spectrum(torch.zeros(1, 1, 16, 16), wave)
    in_ring = int(((whole(16, 16) * 16).round() == 3).sum())
    peak = 2 * 0.5**2 * 256 / 4 / in_ring  # two places of a^2 HW / 4
    floor = 10 * math.log10(FLOOR)
    want = [floor] * 11
    want[2] = 10 * math.log10(peak + FLOOR)
    assert got["curve"] == pytest.approx(want, abs=1e-3) and got["real_curve"] == pytest.approx([floor] * 11)
    assert got["spectrum"] == pytest.approx((want[2] - floor) / math.sqrt(11), rel=1e-4)
    assert got["frequency"] == [k / 16 for k in range(1, 12)]


def test_noise_is_flat_and_half_the_contrast_is_six_decibels() -> None:
    x = (0.2 * torch.randn(500, 1, 16, 16)).clamp(-1, 1)
    got = spectrum(x, x / 2)
    large = [level for level, f in zip(got["real_curve"], got["frequency"], strict=True) if 0.3 < f < 0.5]
    assert large == pytest.approx([10 * math.log10(0.04)] * len(large), abs=0.25)
    assert got["spectrum"] == pytest.approx(20 * math.log10(2), abs=0.01)
    assert got["high_frequency_excess"] == pytest.approx(-20 * math.log10(2), abs=0.01)


@pytest.mark.parametrize(("h", "w", "period"), [(8, 8, 4), (8, 8, 2), (16, 24, 8), (30, 28, 4), (12, 9, 4), (9, 9, 3)])
def test_a_lattice_holds_each_frequency_and_its_mirror_once(h: int, w: int, period: int) -> None:
    def ticks(n: int) -> set[int]:
        return {i * n // period for i in range(period) if i * n % period == 0}

    wanted = {(u, v) for u in ticks(h) for v in ticks(w)} - {(0, 0)}
    found = lattice(h, w, period)
    mirrored = {((h - u) % h, (w - v) % w) for u, v in found}
    assert set(found) | mirrored == wanted and all(v <= w // 2 for _, v in found)
    both = [p for p in found if ((h - p[0]) % h, (w - p[1]) % w) in set(found)]
    assert all(p == ((h - p[0]) % h, (w - p[1]) % w) for p in both) and len(set(found)) == len(found)


def test_repeated_pixels_by_hand() -> None:
    """Noise of variance s repeated 2 x 2 has the power 4 s cos^2(pi u) cos^2(pi v)."""
    side, s = 16, 0.09
    u = torch.fft.fftfreq(side).double()[:, None]
    v = torch.fft.rfftfreq(side).double()[None]
    want = 4 * s * torch.cos(math.pi * u) ** 2 * torch.cos(math.pi * v) ** 2
    x = (math.sqrt(s) * torch.randn(4000, 1, side // 2, side // 2)).clamp(-1, 1).repeat_interleave(2, 2)
    x = x.repeat_interleave(2, 3)
    got = powers_of(x).power / len(x)
    assert float((got - want).abs().max()) < 0.06 * 4 * s
    places = [(0, 8), (8, 0), (0, 4)]
    one = 10 * math.log10(math.sin(math.pi / 16) ** 2 * 4 * s + FLOOR)
    by_hand = [10 * math.log10(FLOOR) - one] * 2
    assert standing_out(want, side, places)[:2].tolist() == pytest.approx(by_hand, rel=1e-3)
    assert abs(float(standing_out(want, side, places)[2])) < 1  # smooth there
    assert checkerboard(photos(side=side), x)["lattice"]["0 0.5"] == pytest.approx(by_hand[0], abs=2)


def test_a_pattern_in_noise_by_hand() -> None:
    side, a = 16, 0.1
    sign = (-1.0) ** (torch.arange(side)[:, None] + torch.arange(side))
    noise = 0.2 * torch.randn(3000, 1, side, side)
    got = checkerboard(noise.clamp(-1, 1), (noise + a * sign).clamp(-1, 1))
    want = 10 * math.log10(1 + a**2 * side**2 / 0.04)  # a^2 HW on top of the variance
    assert got["lattice"]["0.5 0.5"] == pytest.approx(want, abs=0.3)
    others = [v for k, v in got["lattice"].items() if k != "0.5 0.5"]
    assert max(map(abs, others)) < 0.5 and got["real_checkerboard"] < 0.3
    assert got["checkerboard"] == pytest.approx((want + sum(map(abs, others))) / 9, abs=0.05)


# ---- laws ---------------------------------------------------------------------------------------------------------


def test_identity_symmetry_order_and_pieces() -> None:
    x, y = photos(60), photos(80) * 0.7
    assert spectrum(x, x)["spectrum"] == 0 and spectrum(x, x)["high_frequency_excess"] == 0
    there, back = spectrum(x, y), spectrum(y, x)
    assert there["spectrum"] == pytest.approx(back["spectrum"], rel=1e-12)
    assert there["high_frequency_excess"] == pytest.approx(-back["high_frequency_excess"], rel=1e-12)
    for metric, key in ((spectrum, "spectrum"), (checkerboard, "checkerboard")):
        want = metric(x, y)[key]
        assert metric(x.flip(0), y[torch.randperm(80)])[key] == pytest.approx(want, rel=1e-9)
        assert metric(list(x.split(7)), iter(y.split(11)), batch=3)[key] == pytest.approx(want, rel=1e-6)


def test_groups_left_out_are_the_rest() -> None:
    """What the jackknife merges is what the rest alone would say."""
    x, y = photos(50), photos(60)
    rest = y[dealt(0, 60, 10) != 3]
    for metric, key in ((spectrum, "spectrum"), (checkerboard, "checkerboard")):
        assert metric(x, without(Kept(y), 3, 10))[key] == pytest.approx(metric(x, rest)[key], rel=1e-9)


def test_blur_and_noise_are_told_apart_and_grow() -> None:
    x, y = photos(), photos()
    noise = torch.randn_like(y)
    noisy = [spectrum(x, (y + s * noise).clamp(-1, 1)) for s in (0, 0.05, 0.1, 0.2)]
    blurred = [spectrum(x, F.avg_pool2d(y, k, 1, k // 2, count_include_pad=False)) for k in (1, 3, 5)]
    for told in (noisy, blurred):
        values = [t["spectrum"] for t in told]
        assert values == sorted(values) and values[0] < 0.5 and values[1] > 1
    assert noisy[1]["high_frequency_excess"] > 1 and blurred[1]["high_frequency_excess"] < -3


def test_it_sees_what_thumbnails_do_not() -> None:
    """A checkerboard is gone in 8 x 8 averages: the distance there is none, and both scores of spectra see it."""
    x = photos(400)
    sign = (-1.0) ** (torch.arange(32)[:, None] + torch.arange(32))
    y = x + 0.05 * sign
    small = Features("thumbnail", torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(8), torch.nn.Flatten()), 64)
    assert fd(x, y, features=small)["fd"] < 1e-3 * fd(x, x * 0.8, features=small)["fd"]
    assert spectrum(x, y)["spectrum"] > 2
    assert checkerboard(x, y)["checkerboard"] > 5 * checkerboard(x, x)["checkerboard"]


def test_upsampling_leaves_its_lattice(digits: Digits) -> None:
    """Repeated pixels and transposed convolutions of positive noise are far above reals; smooth upsampling is not."""
    own = checkerboard(digits, digits)["checkerboard"]  # 8 x 8 digits have some of their own
    coarse = torch.rand(900, 1, 4, 4) * 2 - 1
    assert checkerboard(digits, F.interpolate(coarse, scale_factor=2))["checkerboard"] > 4 * own
    x = photos(800)
    noise, weight = torch.rand(800, 4, 16, 16), torch.randn(4, 1, 3, 3)
    convolved = F.conv_transpose2d(noise, weight, stride=2, padding=1, output_padding=1).tanh()
    repeated = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2)
    smooth = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear")
    plain, *rest = (checkerboard(x, y)["checkerboard"] for y in (x, convolved, repeated, smooth))
    assert plain < 0.5 and rest[0] > 10 * plain and rest[1] > 10 * plain and rest[2] < 4 * plain


def test_two_upsamplings_back_needs_a_longer_period() -> None:
    x = photos(400)
    pattern = torch.tensor([1.0, 0, 0, 0]).repeat(8)
    y = (x + 0.1 * pattern).clamp(-1, 1)
    assert checkerboard(x, y, period=4)["lattice"]["0 0.25"] > 5
    assert set(checkerboard(x, y, period=2)["lattice"]) == {"0 0.5", "0.5 0", "0.5 0.5"}


def test_black_images_are_no_trouble() -> None:
    x = torch.zeros(20, 3, 8, 8)
    for metric in (spectrum, checkerboard):
        json.dumps(metric(x, x), allow_nan=False)
    assert spectrum(x, x)["spectrum"] == 0 and checkerboard(x, x)["checkerboard"] == pytest.approx(0, abs=1e-9)


def test_what_8_bits_round_away_is_not_seen() -> None:
    x = photos(100)
    assert spectrum(x, ((x + 1) * 127.5).round() / 127.5 - 1)["spectrum"] < 0.1


# ---- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [spectrum, checkerboard])
def test_what_has_no_spectrum(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(InputError, match="16 x 16 and 16 x 12 do not compare"):
        metric(torch.zeros(3, 1, 16, 16), torch.zeros(3, 1, 16, 12))
    with pytest.raises(InputError, match=r"a spectrum is of images .* the samples are \[2\]"):
        metric(torch.zeros(3, 2), torch.zeros(3, 2))
    with pytest.raises(InputError, match="at least 4 x 4"):
        metric(torch.zeros(3, 1, 3, 9), torch.zeros(3, 1, 3, 9))
    assert "take at least 100" in metric(torch.zeros(3, 1, 16, 16), torch.zeros(300, 1, 16, 16))["warning"]
    assert metric(torch.zeros(100, 1, 16, 16), torch.zeros(100, 1, 16, 16))["warning"] == ""


@pytest.mark.parametrize(("h", "w", "period"), [(6, 30, 4), (15, 15, 4), (8, 8, 8)])
def test_what_has_no_lattice(h: int, w: int, period: int) -> None:
    x = torch.zeros(3, 1, h, w)
    with pytest.raises(InputError, match=f"a lattice of period {period} has no frequencies"):
        checkerboard(x, x, period=period)


def test_what_they_say_of_themselves() -> None:
    both = {name: about_of(registry.metric.find(name).fn) for name in ("spectrum", "checkerboard")}
    assert dict(both["spectrum"].scores) == {"spectrum": "lower", "high_frequency_excess": "neither"}
    assert all(told.interval == "jackknife" and told.floor for told in both.values())
