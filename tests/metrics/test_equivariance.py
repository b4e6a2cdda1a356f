"""Equivariance: the shift and the turn by hand, a perfect generator, and StyleGAN3's two configurations."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Game, Loss, Spec, Turn
from gantlet.core.when import Now
from gantlet.metrics import evaluate
from gantlet.metrics.equivariance import Errors, decibel, equivariance, mover_of, rotation, translated, turned
from gantlet.nets.style2 import Style2Generator
from gantlet.nets.style3 import Style3Generator

NONE = torch.zeros(3, 1, 8, 8)  # reals and fakes: nobody looks at them


class Plain(Game):
    """A generator and nobody to play against."""

    def __init__(self, net: nn.Module, z: int) -> None:
        super().__init__()
        self.net, self.z_dim = net, z

    def owns(self) -> dict[str, list[nn.Module]]:
        return {"G": [self.net]}

    def turns(self) -> list[Turn]:
        return [Turn("G", "G", lambda scene: Loss({"none": scene.sum()}))]

    def stage(self, batch: Batch, now: Now) -> Any:
        return batch.x

    def made_of(self) -> dict[str, nn.Module]:
        return {"G": self.net}

    def generate(self, z: Tensor, *given: Tensor) -> Tensor:
        made: Tensor = self.net(z)
        return made


class Waves(nn.Module):
    """w [N, 40] -> a sum of waves up to `highest` cycles per pixel, moved as `transform` says: equivariant by making."""

    def __init__(self, height: int, width: int, highest: float) -> None:
        super().__init__()
        u = torch.rand(2, 40, generator=torch.Generator().manual_seed(0))
        angle, radius = 2 * math.pi * u[0], highest * u[1].sqrt()
        self.f = nn.Parameter(torch.stack([radius * angle.cos(), radius * angle.sin()]))
        self.size = (height, width)
        self.register_buffer("transform", torch.eye(3))

    def forward(self, w: Tensor) -> Tensor:
        h, v = self.size
        down, right = torch.meshgrid(torch.arange(h) - (h - 1) / 2, torch.arange(v) - (v - 1) / 2, indexing="ij")
        place = torch.stack([right.flatten(), down.flatten(), torch.ones(h * v)], 1)
        seen = place @ self.transform.expand(len(w), 3, 3).transpose(1, 2)
        waves = torch.cos(2 * math.pi * seen[:, :, :2] @ self.f + w.unsqueeze(1))
        return 0.05 * waves.sum(2).view(len(w), 1, h, v)


class Perfect(nn.Module):
    def __init__(self, height: int, width: int, highest: float = 0.45) -> None:
        super().__init__()
        self.synthesis = Waves(height, width, highest)

    def forward(self, z: Tensor) -> Tensor:
        made: Tensor = self.synthesis(3 * z)
        return made


def said(net: nn.Module, z: int, **options: Any) -> dict[str, Any]:
    return equivariance(NONE, NONE, model=Plain(net, z), **{"pictures": 8, "batch": 4, **options})


# ---- by hand ------------------------------------------------------------------------------------------------------


def test_whole_pixels_are_copied() -> None:
    """Right 2 and up 1: a copy where there is one to take, and only there valid."""
    x = torch.randn(1, 3, 6, 7)
    moved, valid = translated(x, torch.tensor([[2.0, -1.0]]), lobes=1)
    assert torch.allclose(moved[:, :, :-1, 2:], x[:, :, 1:, :-2], atol=1e-6)
    there = torch.zeros(6, 7, dtype=torch.bool)
    there[:-1, 2:] = True
    assert torch.equal(valid[0, 0], there)


def test_half_a_pixel_by_three_lobes() -> None:
    """Weights sinc(d) sinc(d / 3) at d = +-0.5, 1.5, 2.5, summing to one; five of eight pixels have all six."""
    d = torch.tensor([2.5, 1.5, 0.5, -0.5, -1.5, -2.5], dtype=torch.float64)
    weights = torch.sinc(d) * torch.sinc(d / 3)
    x = torch.randn(1, 1, 4, 11, dtype=torch.float64)
    moved, valid = translated(x, torch.tensor([[0.5, 0.0]]))
    assert float(moved[0, 0, 1, 5]) == pytest.approx(float((weights / weights.sum() * x[0, 0, 1, 2:8]).sum()))
    assert valid[0, 0, 1].tolist() == [False] * 9 + [False] * 2  # three lobes want more than four rows
    wide, valid = translated(x.transpose(2, 3), torch.tensor([[0.0, 0.5]]), lobes=1)
    assert torch.allclose(wide[0, 0, 1:, 0], (x[0, 0, 0, 1:] + x[0, 0, 0, :-1]) / 2)
    assert valid[0, 0, :, 0].tolist() == [False] + [True] * 10


def test_a_right_angle_is_a_turned_picture() -> None:
    """Turning by a right angle what the filter saw is seeing it through the filter turned: it has no direction."""
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    plain, valid = turned(x, torch.zeros(2))
    quarter, there = turned(x, torch.full((2,), math.pi / 2, dtype=torch.float64))
    assert torch.equal(valid, there)
    assert int(valid[0].sum()) == 8 * 8  # all but four pixels at each border
    assert torch.allclose(quarter, plain.rot90(1, (2, 3)), atol=1e-9)
    assert torch.allclose(turned(torch.full((1, 1, 9, 12), 0.3), torch.tensor([0.7]))[0], torch.tensor(0.3), atol=1e-5)


def test_a_turn_is_the_one_the_generator_makes() -> None:
    """The picture of waves seen through places turned by the metric's own matrix is the picture turned, to 50 dB."""
    net, angle = Waves(24, 24, 0.3), torch.tensor([0.9])
    w = torch.randn(1, 40)
    with torch.no_grad():
        wanted, there = turned(net(w), angle)
        net.transform = torch.block_diag(rotation(angle)[0], torch.ones(1))
        made, whole = turned(net(w), torch.zeros(1))
    value = decibel([Errors.between(made, wanted, there & whole)])
    assert value is not None
    assert value[0] > 50


def test_decibels_by_hand() -> None:
    """Squares 1 and 3 over 4 and 4 numbers: 10 log10(4 / 0.5); no numbers, no value; no error, not infinite."""
    found = decibel([Errors(torch.tensor([1.0, 3.0]).double(), torch.tensor([4.0, 4.0]).double())])
    assert found is not None
    assert found[0] == pytest.approx(10 * math.log10(8))
    half = 1.959964 * 10 / math.log(10) * (math.sqrt(2) / 4) / 0.5 / math.sqrt(2)
    assert found[1] == pytest.approx((found[0] - half, found[0] + half))
    assert decibel([Errors(torch.zeros(2).double(), torch.zeros(2).double())]) is None
    exact = decibel([Errors(torch.zeros(2).double(), torch.ones(2).double())])
    assert exact is not None
    assert 100 < exact[0] < 200


# ---- generators ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(32, 32), (20, 44)])
def test_a_perfect_generator(size: tuple[int, int]) -> None:
    """Whole pixels to rounding, turns to 50 dB; a fraction to what three lobes can do, better the smoother the picture."""
    sharp = said(Perfect(*size), 40)
    assert sharp["eq_t"] > 100
    assert sharp["eq_r"] > 50
    assert 20 < sharp["eq_t_frac"] < 45
    smooth = said(Perfect(*size, highest=0.15), 40)
    assert smooth["eq_t_frac"] > 50
    assert sharp["warning"] == ""
    for key in ("eq_t", "eq_t_frac", "eq_r"):
        low, high = sharp["intervals"][key]
        assert low <= sharp[key] <= high


def test_a_generator_glued_to_its_pixels() -> None:
    """A picture with a pattern that stays where it is: only the rest moves."""

    class Glued(Perfect):
        def forward(self, z: Tensor) -> Tensor:
            pattern = 0.5 * torch.randn(32, 32, generator=torch.Generator().manual_seed(5))
            return super().forward(z) + pattern

    found = said(Glued(32, 32), 40)
    wanted = 10 * math.log10(
        4 / (2 * 0.25)
    )  # two independent patterns of variance 1/4, unless a move rounds to nothing
    assert found["eq_t"] == pytest.approx(wanted, abs=1.5)
    assert found["eq_r"] < 20


def test_stylegan3_s_two_configurations() -> None:
    """Untrained: both move, R turns as well."""
    found = []
    for turns in (False, True):
        torch.manual_seed(0)
        net = Style3Generator(Spec((1, 16, 16)), z=6, w=8, width=4, widest=8, rotation=turns)
        found.append(said(net, 6))
    t, r = found
    assert min(t["eq_t"], r["eq_t"], t["eq_t_frac"], r["eq_t_frac"], r["eq_r"]) > 50
    assert r["eq_r"] > t["eq_r"] + 15


def test_the_generator_is_left_as_it_was() -> None:
    net = Style3Generator(Spec((1, 8, 8), classes=0), z=6, w=8, width=4, widest=8, frame=2).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    drawn = torch.random.get_rng_state()
    said(net, 6)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert net.training
    assert net.synthesis.transform.shape == (3, 3)
    assert torch.equal(torch.random.get_rng_state(), drawn)


def test_the_batch_changes_nothing() -> None:
    one, other = (said(Perfect(16, 16), 40, batch=b, pictures=6) for b in (2, 6))
    for key in ("eq_t_frac", "eq_r"):
        assert one[key] == pytest.approx(other[key], abs=1e-3)


# ---- what cannot be measured --------------------------------------------------------------------------------------


def test_pictures_may_be_too_small_to_be_turned() -> None:
    found = said(Perfect(8, 8), 40, reach=4)
    assert found["eq_r"] is None
    assert "eq_r" in found["warning"]
    assert found["eq_t"] > 100
    assert said(Perfect(8, 8), 40)["eq_r"] > 30  # by itself it takes a filter that fits


def test_refusals() -> None:
    with pytest.raises(InputError, match="of a generator and there is none; evaluate a run or a model"):
        equivariance(NONE, NONE)
    net = Style2Generator(Spec((1, 8, 8)), z=6, w=8, width=4, widest=8)
    with pytest.raises(InputError, match=r"`synthesis.transform` \[3, 3\]\), and this has none; use style3"):
        said(net, 6)

    class Broken(Perfect):
        def forward(self, z: Tensor) -> Tensor:
            return super().forward(z) / 0

    with pytest.raises(InputError, match="NaN or infinite"):
        said(Broken(8, 8), 40)


def test_a_conditional_game_s_generator_is_found() -> None:
    tree = {"use": "classic", "G": {"use": "style3", "width": 4, "z": 6, "w": 8, "frame": 2}, "D": "style2"}
    checked, faults = registry.check("game", {**tree, "conditional": True})
    assert not faults
    game = registry.bind("game", checked, total=1)(Spec((1, 8, 8), classes=3))
    assert mover_of(game) is game.G.net.synthesis
    assert equivariance(NONE, NONE, model=game, pictures=4)["eq_t"] is not None


def test_evaluate_gives_it_the_model() -> None:
    report = evaluate(
        torch.rand(20, 1, 16, 16),
        torch.rand(20, 1, 16, 16),
        metrics={"equivariance": {"pictures": 4}},
        model=Plain(Perfect(16, 16), 40),
    )
    names = {s.key: s.name for s in report.scores}
    assert list(names) == ["eq_t", "eq_t_frac", "eq_r"]
    assert "EQ-R" in names["eq_r"]
    assert all(s.better == "higher" and s.value is not None and s.interval is not None for s in report.scores)
