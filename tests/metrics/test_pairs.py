"""PSNR, SSIM, MS-SSIM: by hand, by loops, by the oracles, and what they refuse."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pair_rows import IMAGES, images_of
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.metrics.about import about_of
from gantlet.metrics.pairs import (
    WEIGHTS,
    gaussian,
    ms_ssim,
    multiscale,
    pairs_of,
    peak_ratio,
    psnr,
    ssim,
    structure,
)
from gantlet.metrics.sources import Kept

RECORDED = json.loads((Path(__file__).parent / "oracle" / "pairs.json").read_text(encoding="utf-8"))["images"]
PAIRED: dict[str, Callable[..., dict[str, Any]]] = {"psnr": psnr, "ssim": ssim, "ms_ssim": ms_ssim}
each_metric = pytest.mark.parametrize("key", PAIRED)


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


@pytest.fixture(scope="module")
def large() -> tuple[Tensor, Tensor]:
    return images_of("large")


# ---- by hand ------------------------------------------------------------------------------------------------------


def test_psnr_by_hand() -> None:
    real, fake = torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)
    fake[0, 0, 0, 0], fake[1] = 0.2, 0.5  # mean squares 0.04 / 4 and 0.25
    got = psnr(real, fake)
    a, b = 10 * math.log10(4 / 0.01), 10 * math.log10(4 / 0.25)
    assert got["psnr"] == pytest.approx((a + b) / 2, rel=1e-7) and got["lowest"] == pytest.approx(b, rel=1e-7)
    spread = abs(a - b) / math.sqrt(2)
    low, high = got["intervals"]["psnr"]
    assert high - low == pytest.approx(2 * 1.959964 * spread / math.sqrt(2), rel=1e-6)
    assert got["name"] == "PSNR" and got["warning"] == ""


def test_it_is_what_8_bits_give() -> None:
    real, fake = torch.randint(0, 256, (2, 4, 3, 9, 9), dtype=torch.uint8)
    square = (real.double() - fake.double()).square().flatten(1).mean(1)
    assert psnr(real, fake)["psnr"] == pytest.approx(float((10 * torch.log10(255**2 / square)).mean()), rel=1e-6)


def test_identical_images_are_counted_and_capped() -> None:
    x = torch.rand(3, 3, 8, 8) * 2 - 1
    got = psnr(x, x)
    assert got["psnr"] == 100 and got["identical"] == 3 and "3 of 3 pairs are identical" in got["warning"]
    y = x.clone()
    y[1] = -y[1]
    mixed = psnr(x, y)
    assert mixed["identical"] == 2 and mixed["psnr"] == pytest.approx((200 + mixed["lowest"]) / 3)
    json.dumps([got, mixed], allow_nan=False)
    assert psnr(x, (x.double() + 1e-9).float())["psnr"] == 100


def test_luma_is_super_resolution_s() -> None:
    red = torch.full((1, 3, 4, 4), -1.0)
    red[:, 0] = 1  # Y = 16 + 65.481 of 255; of black 16
    got = psnr(torch.full_like(red, -1), red, channels="luma")
    assert got["psnr"] == pytest.approx(20 * math.log10(255 / 65.481), rel=1e-6) and got["name"] == "PSNR-Y"
    grey = torch.rand(2, 1, 16, 16)
    assert psnr(grey, grey * 0.5, channels="luma")["psnr"] == psnr(grey, grey * 0.5)["psnr"]
    with pytest.raises(InputError, match="no luma of 4 channels"):
        psnr(torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 8, 8), channels="luma")


def test_shave_leaves_the_border_out() -> None:
    x, y = images_of("colour")
    inside = (x[..., 4:-4, 4:-4], y[..., 4:-4, 4:-4])
    assert psnr(x, y, shave=4)["psnr"] == psnr(*inside)["psnr"]
    assert ssim(x, y, shave=4)["ssim"] == ssim(*inside)["ssim"]
    with pytest.raises(InputError, match="shave=10 leaves nothing of images of 24 x 20"):
        psnr(x, y, shave=10)


def test_ssim_of_constant_images_by_hand() -> None:
    a, b = torch.full((1, 1, 12, 12), 0.5), torch.full((1, 1, 12, 12), -0.25)  # 1.5 and 0.75 of 2
    c1 = (0.01 * 2) ** 2
    want = (2 * 1.5 * 0.75 + c1) / (1.5**2 + 0.75**2 + c1)
    assert ssim(a, b)["ssim"] == pytest.approx(want, rel=1e-9)
    assert ssim(a, b, window="uniform")["ssim"] == pytest.approx(want, rel=1e-9)


def loop(x: Tensor, y: Tensor, weights: Tensor) -> float:
    """Wang et al. 2004 eq. 13-16, word for word: images [H, W] in 0..2, weights [k, k]."""
    k, found = len(weights), []
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    for i in range(x.shape[0] - k + 1):
        for j in range(x.shape[1] - k + 1):
            a, b = x[i : i + k, j : j + k], y[i : i + k, j : j + k]
            ma, mb = (weights * a).sum(), (weights * b).sum()
            va, vb = (weights * (a - ma) ** 2).sum(), (weights * (b - mb) ** 2).sum()
            both = (weights * (a - ma) * (b - mb)).sum()
            found.append((2 * ma * mb + c1) * (2 * both + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return float(torch.stack(found).mean())


@pytest.mark.parametrize(("window", "side"), [("gaussian", None), ("uniform", None), ("uniform", 8), ("gaussian", 4)])
def test_ssim_is_its_formula(window: str, side: int | None) -> None:
    x, y = (t[:1, :1, :15, :14] for t in images_of("grey"))
    if window == "gaussian":
        d = torch.arange(side or 11).double() - ((side or 11) - 1) / 2
        taps = torch.exp(-(d**2) / (2 * 1.5**2))
    else:
        taps = torch.ones(side or 7).double()
    weights = torch.outer(taps, taps)
    want = loop(x[0, 0].double() + 1, y[0, 0].double() + 1, weights / weights.sum())
    assert ssim(x, y, window=window, side=side)["ssim"] == pytest.approx(want, rel=1e-10)


def test_ms_ssim_of_constant_images_by_hand(large: tuple[Tensor, Tensor]) -> None:
    a, b = torch.full((1, 1, 176, 176), 0.5), torch.full((1, 1, 176, 176), -0.25)
    c1 = (0.01 * 2) ** 2
    want = ((2 * 1.5 * 0.75 + c1) / (1.5**2 + 0.75**2 + c1)) ** 0.1333  # contrast and structure are 1 everywhere
    assert ms_ssim(a, b)["ms_ssim"] == pytest.approx(want, rel=1e-9)
    x, y = (t.double() for t in large)
    by_hand = torch.ones(3).double()
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        small = [F.avg_pool2d(t, 2**scale) for t in (x[..., :176], y[..., :176])]  # means of means
        light, rest = structure(*small, gaussian())
        by_hand *= ((light * rest) if scale == 4 else rest).mean((0, 2, 3)) ** weight
    assert float(multiscale(x[..., :176], y[..., :176])) == pytest.approx(float(by_hand.mean()), rel=1e-9)


def test_opposite_structure_counts_as_none() -> None:
    x = torch.rand(1, 1, 176, 176) * 2 - 1
    assert ms_ssim(x, -x)["ms_ssim"] == 0 and ssim(x, -x)["ssim"] < 0


# ---- oracles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", IMAGES)
def test_the_oracles_agree(name: str) -> None:
    x, y = images_of(name)
    want = RECORDED[name]
    assert psnr(x, y)["psnr"] == pytest.approx(mean(want["psnr"]), rel=1e-7)
    assert ssim(x, y)["ssim"] == pytest.approx(mean(want["ssim"]), rel=1e-7)
    for side in (7, 8):
        got = ssim(x, y, window="uniform", side=side)
        assert got["ssim"] == pytest.approx(mean(want[f"ssim_uniform_{side}"]), rel=1e-7)
        assert got["name"] == f"SSIM-uniform-{side}"
    one = peak_ratio(x.double(), y.double())
    assert one.tolist() == pytest.approx(want["psnr"], rel=1e-7)
    wider = [F.pad(t, (5, 5, 5, 5), mode="reflect") for t in (x, y)]  # what torchmetrics itself averages over
    assert ssim(*wider)["ssim"] == pytest.approx(mean(want["ssim_padded"]), rel=1e-7)


def test_the_oracle_agrees_on_ms_ssim(large: tuple[Tensor, Tensor]) -> None:
    """torchmetrics pads its last scale by reflection; with that scale as it is, ours is of the same factors."""
    x, y = (t.double() for t in large)
    each = []
    for pad in (0, 5):
        small = [F.pad(_pooled(t, 4), (pad,) * 4, mode="reflect") for t in (x, y)]
        light, rest = structure(*small, gaussian())
        each.append((light * rest).mean((2, 3)) ** 0.1333)
    plain, padded = each
    theirs = RECORDED["large"]["ms_ssim_padded"]
    fine = torch.ones_like(plain)
    for scale, weight in enumerate(WEIGHTS[:4]):
        fine *= structure(_pooled(x, scale), _pooled(y, scale), gaussian())[1].mean((2, 3)) ** weight
    assert (fine * padded).mean(1).tolist() == pytest.approx(theirs, rel=1e-6)  # it keeps its weights in float32
    assert ms_ssim(*large)["ms_ssim"] == pytest.approx(float((fine * plain).mean()), rel=1e-9)


def _pooled(x: Tensor, times: int) -> Tensor:
    for _ in range(times):
        x = F.avg_pool2d(x, 2)
    return x


def test_every_case_was_recorded() -> None:
    assert set(RECORDED) == set(IMAGES) and "ms_ssim_padded" in RECORDED["large"]


# ---- laws ---------------------------------------------------------------------------------------------------------


@each_metric
def test_identity_and_symmetry(key: str, large: tuple[Tensor, Tensor]) -> None:
    x, y = large
    best = 100 if key == "psnr" else 1
    assert PAIRED[key](x, x)[key] == best
    assert PAIRED[key](x, y)[key] == pytest.approx(PAIRED[key](y, x)[key], rel=1e-12)
    assert PAIRED[key](x, y)[key] < best


@each_metric
def test_it_falls_with_noise_and_with_blur(key: str, large: tuple[Tensor, Tensor]) -> None:
    x = large[0]
    noise = torch.randn_like(x)
    noisy = [PAIRED[key](x, x + level * noise)[key] for level in (0, 0.02, 0.05, 0.1, 0.3)]
    blurred = [PAIRED[key](x, F.avg_pool2d(x, k, 1, k // 2, count_include_pad=False))[key] for k in (1, 3, 5, 9)]
    assert noisy == sorted(noisy, reverse=True) and len(set(noisy)) == 5
    assert blurred == sorted(blurred, reverse=True) and len(set(blurred)) == 4


@pytest.mark.parametrize("key", ["psnr", "ssim"])
def test_order_of_the_pairs_and_pieces_do_not_matter(key: str) -> None:
    x, y = images_of("colour")
    want = PAIRED[key](x, y)
    turned = PAIRED[key](x.flip(0), y.flip(0), batch=2)
    assert turned[key] == pytest.approx(want[key], rel=1e-12)
    pieces = PAIRED[key](Kept(list(x.split(3))), iter(y.split(2)))
    assert pieces == want
    assert PAIRED[key](x, y.flip(0))[key] < want[key]  # but what is beside what does


def test_shifts_hurt_psnr_more_than_light_does_ssim() -> None:
    """What each is blind to: SSIM hardly minds a change of brightness that halves the PSNR."""
    x = images_of("colour")[0] * 0.5
    brighter, noisy = x + 0.2, x + 0.2 * torch.randn_like(x)
    assert psnr(x, brighter)["psnr"] == pytest.approx(psnr(x, noisy)["psnr"], abs=0.5)
    assert ssim(x, brighter)["ssim"] > ssim(x, noisy)["ssim"] + 0.1


def test_values_beyond_the_range_are_cut_as_a_file_cuts_them() -> None:
    x = torch.full((2, 1, 12, 12), 0.9)
    assert psnr(x, x + 5)["psnr"] == pytest.approx(10 * math.log10(4 / 0.1**2), rel=1e-5)


# ---- bad input ----------------------------------------------------------------------------------------------------


@each_metric
def test_pairs_need_equal_counts_and_sizes(key: str) -> None:
    x = torch.zeros(4, 1, 12, 12)
    with pytest.raises(InputError, match="4 reals and 3 fakes"):
        PAIRED[key](x, x[:3])
    with pytest.raises(InputError, match=r"\[1, 12, 12\] and the fakes \[1, 12, 13\]"):
        PAIRED[key](x, torch.zeros(4, 1, 12, 13))
    with pytest.raises(InputError, match="both are images"):
        PAIRED[key](torch.zeros(4, 2), torch.zeros(4, 2))


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_streams_of_unequal_length_are_noticed(cut: int) -> None:
    x = torch.zeros(4, 1, 2, 2)
    with pytest.raises(InputError, match=f"{cut} fakes and more reals"):
        list(pairs_of(iter(x.split(2)), iter(x[:cut].split(1))))
    with pytest.raises(InputError, match=f"{cut} reals and more fakes"):
        list(pairs_of(iter(x[:cut].split(2)), iter(x.split(3))))


def test_small_images_are_told_the_size_that_is_needed() -> None:
    with pytest.raises(InputError, match=r"at least 176 x 176, these are 175 x 300; take ssim"):
        ms_ssim(torch.zeros(1, 1, 175, 300), torch.zeros(1, 1, 175, 300))
    with pytest.raises(InputError, match="at least 11 x 11, these are 8 x 8; take window=uniform"):
        ssim(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))
    assert ssim(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8), window="uniform")["ssim"] == 1


@each_metric
def test_one_pair_has_no_interval(key: str, large: tuple[Tensor, Tensor]) -> None:
    x = large[0]
    got = PAIRED[key](x, x * 0.9)
    assert got["intervals"] == {} and "no interval" in got["warning"]
    json.dumps(got, allow_nan=False)


@each_metric
def test_what_they_say_of_themselves(key: str) -> None:
    part = registry.metric.find(key.replace("_", "-"))
    told = about_of(part.fn)
    assert told.interval == "own" and not told.floor and dict(told.scores) == {key: "higher"}
    assert "et al" in part.doc or key == "psnr"
    _, faults = registry.check("metric", {"use": part.name, "channels": "sepia", "shave": -1})
    assert len(faults) == 2
