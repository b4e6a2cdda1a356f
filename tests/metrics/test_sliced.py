"""Sliced Wasserstein distances, of features and of patches at every scale."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from distance_laws import drawn
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.core.noise import uniform
from gantlet.metrics import Drawn, Kept
from gantlet.metrics.pyramid import cut, doubled, halved, pyramid, swd
from gantlet.metrics.sliced import directions, sliced_w2, transport
from gantlet.metrics.sources import Source


def pictures(n: int, size: int, channels: int = 3, name: str = "p") -> Tensor:
    """Smooth random images in -1..1 with a little grain."""
    rough = uniform((channels, 8, 8), n, key=("pictures", name)) * 2 - 1
    grain = uniform((channels, size, size), n, key=("grain", name)) * 0.2 - 0.1
    return (F.interpolate(rough, (size, size), mode="bilinear") * 0.8 + grain).clamp(-1, 1)


def score(real: Source, fake: Source, **options: int) -> dict[str, Any]:
    """Of fewer patches and directions than as published."""
    return swd(real, fake, **{"ways": 64, "patches": 64, **options})


@pytest.mark.parametrize("power", [1, 2])
def test_transport_by_hand(power: int) -> None:
    a, b = torch.tensor([[0.0, 1.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0, 3.0], [1.0, 1.0, 1.0]])
    assert transport(a, b, power=power).tolist() == pytest.approx([1 / 6 + 2**power / 3, 1.0])
    assert transport(a, a + 2, power=power).tolist() == [2.0**power] * 2


@pytest.mark.parametrize("d", [1, 3, 24])
def test_a_shift(d: int) -> None:
    """E over directions of (m . w)^2 is |m|^2 / d: for N(0, I) and N(m, I) W2^2 is that along every one."""
    x, move = drawn(3000, d, "x"), torch.full((d,), 0.5)
    want = math.sqrt(float((directions(d, 512, seed=0) @ move.double()).square().mean()))
    assert sliced_w2(x, x + move)["sliced_w2"] == pytest.approx(want, rel=1e-5)
    assert sliced_w2(x, drawn(3000, d, "y") + move)["sliced_w2"] == pytest.approx(0.5, rel=0.12)


def test_it_is_a_distance() -> None:
    x, y, z = (drawn(50 + 10 * i, 3, i, shift=i / 3) for i in range(3))
    far = [sliced_w2(a, b, ways=64)["sliced_w2"] for a, b in ((x, y), (y, z), (x, z))]
    assert far[2] <= far[0] + far[1]
    assert sliced_w2(y, x, ways=64)["sliced_w2"] == pytest.approx(far[0], rel=1e-9)
    assert sliced_w2(x, x.flip(0))["sliced_w2"] == 0
    got = sliced_w2(x, y)
    assert (got["name"], got["real_count"], got["fake_count"]) == ("sliced W2-raw", 50, 60)


@pytest.mark.parametrize(("size", "levels"), [(16, [16]), (28, [28]), (32, [32, 16]), (72, [72, 36, 18]), (9, [9])])
def test_a_pyramid_adds_up(size: int, levels: list[int]) -> None:
    x = pictures(3, size, 2)
    got = pyramid(x)
    assert [level.shape[-1] for level in got] == levels
    y = got[-1]
    for level in reversed(got[:-1]):
        y = level + doubled(y, level.shape[2], level.shape[3])
    assert torch.allclose(y, x, atol=1e-5)


def test_the_filter_keeps_a_flat_image() -> None:
    x = torch.full((1, 2, 34, 40), 0.3)
    assert torch.allclose(halved(x), torch.tensor(0.3)) and halved(x).shape == (1, 2, 17, 20)
    assert torch.allclose(doubled(halved(x), 34, 40), x, atol=1e-6)
    assert float(pyramid(x)[0].abs().max()) < 1e-6
    spike = torch.zeros(1, 1, 9, 9)
    spike[..., 4, 4] = 1
    assert float(halved(spike)[0, 0, 2, 2]) == pytest.approx((6 / 16) ** 2)


def test_patches_are_of_the_image() -> None:
    x = torch.arange(2.0 * 3 * 10 * 12).view(2, 3, 10, 12)
    got = cut(x, 50, 4, first=0, seed=0, level=0).view(2, 50, 3, 4, 4)
    base = torch.arange(4).view(4, 1) * 12 + torch.arange(4)
    for i in range(2):
        corner = got[i, :, 0, 0, 0] - i * 360
        assert torch.equal(got[i, :, 0] - i * 360, corner.view(50, 1, 1) + base)
        assert torch.equal(got[i, :, 2] - got[i, :, 0], torch.full((50, 4, 4), 240.0))
        rows, columns = corner // 12, corner % 12
        assert set(rows.tolist()) == set(range(7)) and set(columns.tolist()) == set(range(9))
    assert torch.equal(cut(x[1:], 50, 4, first=1, seed=0, level=0), got[1])  # row by row, whatever the batch


def test_of_images() -> None:
    x, y = pictures(80, 32), pictures(80, 32, name="q")
    same = score(x, x)
    assert same["swd"] == 0 and list(same["levels"]) == ["32", "16"] and same["name"] == "SWD"
    got = score(x, y, batch=7)
    assert got == score(Kept(x), Drawn(80, lambda first, n: y[first : first + n], batch=9)) | {"swd": got["swd"]}
    assert score(y, x)["swd"] == pytest.approx(got["swd"], rel=1e-6)
    # each channel is brought to mean 0 and deviation 1
    assert score(x, (x * 0.5 + 0.2))["swd"] == pytest.approx(0, abs=1e-3)
    grey = score(x[:, :1], y[:, :1], patches=64)
    assert grey["swd"] > 0


def test_blur_is_in_the_fine_levels_and_noise_is_farther() -> None:
    x, y = pictures(100, 32), pictures(100, 32, name="q")
    soft = F.avg_pool2d(F.pad(y, (1, 1, 1, 1), mode="replicate"), 3, 1)
    plain, blurred = score(x, y)["levels"], score(x, soft)["levels"]
    assert blurred["32"] > 1.8 * plain["32"] and blurred["16"] < 1.3 * plain["16"]
    noise = drawn(100, 32 * 32 * 3, "n").view(100, 3, 32, 32)
    values = [score(x, (y + level * noise).clamp(-1, 1))["swd"] for level in (0.0, 0.1, 0.2, 0.4)]
    assert values == sorted(values)


def test_not_all_images_are_needed() -> None:
    x = pictures(90, 16)
    few = swd(x, x, images=20)
    assert few["real_count"] == few["fake_count"] == 20 and few["swd"] == 0
    assert swd(x, x[:40])["fake_count"] == 40 and few["warning"] == ""
    assert swd(x, iter(x.split(25)), images=30)["fake_count"] == 30


def test_errors() -> None:
    with pytest.raises(InputError, match="patches of 7 pixels"):
        swd(torch.zeros(4, 2), torch.zeros(4, 2))
    with pytest.raises(InputError, match="patches of 7 pixels"):
        swd(torch.zeros(4, 1, 6, 9), torch.zeros(4, 1, 6, 9))
    with pytest.raises(InputError, match="differ in size or channels"):
        swd(pictures(4, 16), pictures(4, 32))
    with pytest.raises(InputError, match="differ in size or channels"):
        swd(pictures(4, 16), pictures(4, 16)[:, :1])
    with pytest.raises(InputError, match="GiB and 4 are allowed"):
        swd(torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16), patches=2**25)
