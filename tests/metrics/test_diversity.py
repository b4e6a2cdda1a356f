"""Diversity: the mean over all pairs in one pass, what it sees, what it does not."""

from __future__ import annotations

import json
import math
import sys
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from digit_rows import Digits
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.metrics.about import about_of
from gantlet.metrics.diversity import at_once, diversity, spread_of, stages_of, unit, unlike
from gantlet.metrics.features import Features
from gantlet.metrics.frechet import fd
from gantlet.metrics.interval import jackknife
from gantlet.metrics.sources import Kept, dealt


class Two(nn.Module):
    """Two stages of maps, of fixed weights."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 5, 3), nn.Conv2d(5, 7, 3, stride=2)
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(3)
            for p in self.parameters():
                p.normal_(0, 0.5)
        self.seen = 0

    def stages(self, x: Tensor) -> list[Tensor]:
        self.seen = max(self.seen, len(x))
        y = self.one(x).relu()
        return [y, self.two(y).relu()]

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x)[-1].mean((2, 3))


@pytest.fixture
def two() -> Features:
    return Features("Two", Two(), 7, channels=1)


# ---- by hand ------------------------------------------------------------------------------------------------------


def test_points_by_hand() -> None:
    fake = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])  # cosines 0, -1, 0: distances 2, 4, 2
    real = torch.tensor([[1.0, 0.0], [0.0, 5.0]])
    got = diversity(real, fake)
    assert got["diversity"] == pytest.approx(8 / 3, rel=1e-12)
    assert got["real_diversity"] == pytest.approx(2, rel=1e-12) and got["ratio"] == pytest.approx(4 / 3, rel=1e-12)
    assert got["names"]["diversity"] == "Diversity-raw" and not got["stages"]


def test_a_black_place_is_as_far_from_any_other_as_half_a_right_angle() -> None:
    one, other = torch.zeros(1, 3, 1, 2), torch.zeros(1, 3, 1, 2)
    other[0, 1, 0, 0] = 9.0  # 1 away there, 0 in the other place
    assert unlike([one], [other]).tolist() == [0.5]
    assert not bool(unit(one).isnan().any())


def test_one_pass_is_the_mean_over_all_pairs(two: Features, digits: Digits) -> None:
    x = digits.x[:23]
    stages = stages_of(two)
    assert stages is not None
    maps = stages(x)
    pairs = list(combinations(range(len(x)), 2))
    a, b = (torch.tensor(side) for side in zip(*pairs, strict=True))
    each = unlike([m[a] for m in maps], [m[b] for m in maps])
    assert float(spread_of(x, two).mean) == pytest.approx(float(each.mean()), rel=1e-6)
    by_hand = sum(
        float((unit(m)[0] - unit(m)[1]).square().sum(0).mean())
        for m in maps  # Zhang et al. 2018, eq. 1, w = 1
    )
    assert float(each[0]) == pytest.approx(by_hand, rel=1e-6)


def test_the_interval_is_the_jackknife_of_the_rest(two: Features, digits: Digits) -> None:
    x = digits.x[:45]
    got = spread_of(x, two, batch=7)
    group = dealt(0, len(x), 10)
    less = [spread_of(x[group != j], two).mean for j in range(10)]
    assert got.less == pytest.approx(less, rel=1e-9)
    said = diversity(digits, x, features=two)
    low, high = jackknife(got.mean, less)[:2]
    assert said["intervals"]["diversity"] == pytest.approx([low, high], rel=1e-9)
    assert said["intervals"]["ratio"][1] == pytest.approx(high / said["real_diversity"], rel=1e-9)


def test_intervals_cover(digits: Digits) -> None:
    """Points around the circle: the true mean of 2 - 2 cosine is 2 - 2 |mean direction|^2."""
    hits = 0
    for seed in range(200):
        angle = torch.randn(60, generator=torch.Generator().manual_seed(seed))
        x = torch.stack([angle.cos(), angle.sin()], 1)
        low, high = diversity(x, x)["intervals"]["diversity"]
        hits += low <= 2 - 2 * math.exp(-1) <= high
    assert hits >= 180


# ---- laws ---------------------------------------------------------------------------------------------------------


def test_order_pieces_and_scale_do_not_matter(two: Features, digits: Digits) -> None:
    x = digits.x[:100]
    want = diversity(x, x[:60], features=two)
    turned = diversity(x.flip(0), x[:60][torch.randperm(60)], features=two)
    assert turned["diversity"] == pytest.approx(want["diversity"], rel=1e-9)
    pieces = diversity(list(x.split(9)), iter(x[:60].split(31)), features=two, batch=4)
    assert pieces["diversity"] == pytest.approx(want["diversity"], rel=1e-6)
    assert pieces["intervals"]["diversity"] == pytest.approx(want["intervals"]["diversity"], rel=1e-6)
    points = torch.randn(50, 4)
    assert diversity(points, 7 * points)["ratio"] == pytest.approx(1, rel=1e-6)
    assert diversity(x, x, features=two)["ratio"] == 1


def test_dropped_classes_and_duplicates_lower_it(two: Features, digits: Digits) -> None:
    few = [diversity(digits, digits.pick(digits.y < k), features=two)["ratio"] for k in (10, 2, 1)]
    assert few == sorted(few, reverse=True) and few[2] < 0.95
    copies = [digits.x[: 240 // k].repeat(k, 1, 1, 1) for k in (1, 20, 120)]
    told = [diversity(digits, c, features=two)["ratio"] for c in copies]
    assert told == sorted(told, reverse=True) and told[2] < 0.85
    assert diversity(digits, digits.x[:1].repeat(30, 1, 1, 1), features=two)["diversity"] == pytest.approx(0, abs=1e-6)


def test_its_blind_spot_is_noise(two: Features, digits: Digits) -> None:
    """Noise is diverse: over 1 is no praise, and the Frechet distance sees what it is."""
    noise = torch.rand(300, 1, 8, 8) * 2 - 1
    noisy = [(digits.x[:300] + level * noise).clamp(-1, 1) for level in (0, 0.5, 1)]
    told = [diversity(digits, x, features=two)["ratio"] for x in noisy]
    assert told == sorted(told) and told[2] > 1.05
    far = [fd(digits, x)["fd"] for x in noisy]
    assert far == sorted(far)


def test_memory_is_bounded_by_pixels(two: Features, digits: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(1, 1, 1024, 512)
    assert at_once(two, x[..., :256]) == 2 and at_once(Features("Two", Two(), 7, size=(2048, 2048)), x) == 1
    want = spread_of(digits.x[:50], two).mean
    assert isinstance(two.net, Two) and two.net.seen == 50
    two.net.seen = 0
    monkeypatch.setattr(sys.modules["gantlet.metrics.diversity"], "_PIXELS", 64 * 7)
    assert spread_of(digits.x[:50], two).mean == pytest.approx(want, rel=1e-9) and two.net.seen == 7


def test_a_kept_set_is_seen_once(two: Features, digits: Digits) -> None:
    kept = Kept(digits.cut(0, 50))
    first = diversity(kept, digits.cut(50, 90), features=two)
    assert isinstance(two.net, Two)
    two.net.stages = None  # type: ignore[method-assign, assignment]  # nothing is asked of the network again
    assert spread_of(kept, two).mean == first["real_diversity"]


def test_without_stages_it_is_the_features(digits: Digits) -> None:
    x = digits.x[:40]
    flat = F.normalize(x.flatten(1).double(), dim=1)
    cosine = flat @ flat.T
    want = (2 - 2 * cosine).sum() / (40 * 39)
    assert diversity(digits, x, features="raw")["diversity"] == pytest.approx(float(want), rel=1e-6)


# ---- bad input ----------------------------------------------------------------------------------------------------


def test_too_few() -> None:
    x = torch.randn(30, 3)
    with pytest.raises(InputError, match="take at least 2"):
        diversity(x, x[:1])
    with pytest.raises(InputError, match="all reals are the same"):
        diversity(torch.ones(30, 3), x)
    few = diversity(x, x[:19])
    assert few["intervals"] == {} and "19 fakes are too few for an interval; take at least 20" in few["warning"]
    json.dumps(few, allow_nan=False)
    assert diversity(x, x[:20])["warning"] == ""


def test_what_it_says_of_itself(two: Features, digits: Digits) -> None:
    told = about_of(registry.metric.find("diversity").fn)
    assert told.interval == "own" and dict(told.scores) == {"diversity": "higher", "ratio": "neither"}
    got = diversity(digits.cut(0, 60), digits.cut(60, 90), features=two)
    assert got["network"] == two.hash and got["stages"] and got["names"]["diversity"] == "Diversity-Two"
    assert (got["real_count"], got["fake_count"]) == (60, 30) and set(got["intervals"]) == set(told.scores)
