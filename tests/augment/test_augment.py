"""Augmentation: what it does to pixels, that it can be undone, that it can be differentiated twice, its statistics."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from gantlet.augment.adaptive import Operation
from gantlet.augment.color import COLORS
from gantlet.augment.diff import POLICIES
from gantlet.augment.draws import Draws, drawn
from gantlet.augment.geometry import AGAIN, MOVES, composed, slight
from gantlet.augment.pixels import shift, warp, without
from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.noise import uniform
from gantlet.core.trick import Trick
from gantlet.core.when import Now
from helpers import POINTS, Rows, play

OPERATIONS = get_args(Operation)
NOW = Now(step=3, seed=1)


def made(name: str, **options: Any) -> Trick:
    trick = registry.trick.parts[name].fn(**options)
    assert isinstance(trick, Trick)
    return trick


def seen(name: str, x: Tensor, *given: Tensor, now: Now = NOW, side: str = "real", **options: Any) -> Any:
    shown, more = made(name, **options).shown(x, given, now, side)
    return (shown, *more) if given else shown


def images(n: int = 4, c: int = 3, h: int = 6, w: int = 6, dtype: torch.dtype = torch.float64) -> Tensor:
    return 2 * torch.rand(n, c, h, w, dtype=dtype) - 1


def draws(n: int, u: float = 0.0, v: float = 0.0, g: float = 0.0) -> Draws:
    ones = torch.ones(n, dtype=torch.float64)
    return Draws(0 * ones, torch.stack([u * ones, v * ones], 1), torch.stack([g * ones, g * ones], 1))


# ---- pixels -------------------------------------------------------------------------------------------------------


def test_a_shift_brings_zeros_in() -> None:
    x = torch.arange(1.0, 10.0).view(1, 1, 3, 3).expand(2, 1, 3, 3)
    out = shift(x, torch.tensor([1, 0]), torch.tensor([0, -1]))
    assert out[0, 0].tolist() == [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    assert out[1, 0].tolist() == [[2, 3, 0], [5, 6, 0], [8, 9, 0]]


def test_a_hole_is_where_it_is_asked_for() -> None:
    out = without(torch.ones(2, 1, 3, 4), torch.tensor([1, -1]), torch.tensor([2, 0]), 2, 2)
    assert out[0, 0].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]
    assert out[1, 0].tolist() == [[0, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]


def test_a_warp_by_whole_moves_moves_pixels() -> None:
    """Identity, mirror, quarter turn and whole shifts are exact; what comes in is a reflection."""
    x = images(1, 2, 4, 4)

    def by(*rows: list[float]) -> Tensor:
        return warp(x, torch.tensor([list(rows)], dtype=torch.float64))

    assert torch.allclose(by([1, 0, 0], [0, 1, 0], [0, 0, 1]), x)
    assert torch.allclose(by([-1, 0, 0], [0, 1, 0], [0, 0, 1]), x.flip(3))
    assert torch.allclose(by([0, -1, 0], [1, 0, 0], [0, 0, 1]), x.rot90(1, (2, 3)))
    right = by([1, 0, 1], [0, 1, 0], [0, 0, 1])
    assert torch.allclose(right[..., :3], x[..., 1:])
    assert torch.allclose(right[..., 3], x[..., 3])
    half = by([1, 0, 0.5], [0, 1, 0], [0, 0, 1])
    assert torch.allclose(half[..., :3], (x[..., 1:] + x[..., :3]) / 2)


def test_a_warp_agrees_with_grid_sample() -> None:
    x = images(5, 3, 7, 9)
    back = torch.eye(3, dtype=torch.float64).repeat(5, 1, 1)
    back[:, :2] += 0.4 * torch.randn(5, 2, 3, dtype=torch.float64)
    scale = torch.diag(torch.tensor([2 / 9, 2 / 7, 1.0], dtype=torch.float64))
    theta = (scale @ back @ scale.inverse())[:, :2]
    grid = torch.nn.functional.affine_grid(theta, list(x.shape), align_corners=False)
    want = torch.nn.functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    inside = (grid.abs() < 2.9).all(3).unsqueeze(1)  # grid_sample clips where a place is reflected into the border
    inner = (warp(x, back) - want).abs() * inside
    edge = ((grid.abs() % 2 - 1).abs() * torch.tensor([9.0, 7.0]) < 1).any(3).unsqueeze(1)
    assert float((inner * ~edge).max()) < 1e-10


def test_places_are_exact_in_low_precision() -> None:
    """A bf16 image of 200 pixels under autocast is moved as precisely as a float32 one."""
    ramp = torch.linspace(-1, 1, 200).view(1, 1, 1, 200).expand(1, 1, 8, 200).contiguous()
    back = torch.tensor([[[0.98, 0.01, 1.3], [-0.01, 0.97, 0.2], [0, 0, 1]]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = warp(ramp.bfloat16(), back)
    assert low.dtype == torch.bfloat16
    assert float((low.float() - warp(ramp, back)).abs().max()) < 0.01
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = composed(drawn([*MOVES], ramp.bfloat16(), key=("b",), first=0), torch.tensor(1.0), OPERATIONS, (8, 200))
    exact = composed(drawn([*MOVES], ramp, key=("b",), first=0), torch.tensor(1.0), OPERATIONS, (8, 200))
    assert found is not None
    assert exact is not None
    assert torch.equal(found[1], exact[1])


@pytest.mark.parametrize("name", ["color", "translation", "cutout"])
def test_diffaugment_can_be_differentiated_twice(name: str) -> None:
    x = images(2, 3, 4, 4).requires_grad_()
    u = uniform((7,), 2, key=("grad",)).double()
    assert torch.autograd.gradcheck(lambda t: POLICIES[name](t, u), x)
    assert torch.autograd.gradgradcheck(lambda t: POLICIES[name](t, u).square(), x, fast_mode=True)


@pytest.mark.parametrize("name", OPERATIONS)
def test_ada_can_be_differentiated_twice(name: str) -> None:
    """Penalties on the slope of D(T(x)) need it."""
    x = images(2, 3, 3, 3).requires_grad_()
    trick = made("ada", policy=(name,), p=1.0)

    def twice(t: Tensor) -> Tensor:
        return trick.shown(t, (), NOW, "real")[0]

    assert torch.autograd.gradcheck(twice, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda t: twice(t).square(), x, fast_mode=True)


# ---- undone, and not done -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("policy", [*[(n,) for n in OPERATIONS], OPERATIONS])
def test_ada_at_zero_is_the_image_to_the_bit(policy: tuple[str, ...], dtype: torch.dtype) -> None:
    x = images(dtype=dtype)
    assert torch.equal(seen("ada", x, policy=policy), x)
    assert torch.equal(seen("ada", x, policy=policy, p=0.0), x)


def test_rows_that_are_not_drawn_are_the_image_to_the_bit() -> None:
    x = images(200)
    out = seen("ada", x, policy=("rotation", "hue", "cutout"), p=0.2)
    same = (out == x).flatten(1).all(1)
    assert 0.35 < float(same.float().mean()) < 0.7  # 0.8^3 = 0.51 of them


UNDONE: dict[str, Callable[[float], tuple[Draws, Draws]]] = {
    "x-flip": lambda t: (draws(4, u=0.9), draws(4, u=0.9)),
    "quarter-turns": lambda t: (draws(4, u=0.3), draws(4, u=0.8)),
    "isotropic-scaling": lambda t: (draws(4, g=t), draws(4, g=-t)),
    "rotation": lambda t: (draws(4, u=0.5 + t / 9), draws(4, u=0.5 - t / 9)),
    "anisotropic-scaling": lambda t: (draws(4, g=t), draws(4, g=-t)),
    "fractional-translation": lambda t: (draws(4, g=t), draws(4, g=-t)),
    "integer-translation": lambda t: (draws(4, u=0.7, v=0.1), draws(4, u=0.3, v=0.9)),
}


@pytest.mark.parametrize("name", [n for n in MOVES if n != AGAIN])
def test_moves_can_be_undone(name: str) -> None:
    """The map of the opposite draw is the inverse map; areas change only under isotropic scaling."""
    there, back = (MOVES[name](d, (8, 8)) for d in UNDONE[name](0.7))
    assert torch.allclose(there @ back, torch.eye(3, dtype=torch.float64).expand(4, 3, 3), atol=1e-12)
    grows = 2 ** (2 * 0.2 * 0.7) if name == "isotropic-scaling" else 1.0
    assert there.det().abs().tolist() == pytest.approx([grows] * 4)
    assert not torch.allclose(there, torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("name", "one", "two"),
    [
        ("brightness", draws(4, g=0.7), draws(4, g=-0.7)),
        ("contrast", draws(4, g=0.7), draws(4, g=-0.7)),
        ("luma-flip", draws(4, u=0.9), draws(4, u=0.9)),
        ("hue", draws(4, u=0.7), draws(4, u=0.3)),
        ("saturation", draws(4, g=0.7), draws(4, g=-0.7)),
    ],
)
def test_colors_can_be_undone(name: str, one: Draws, two: Draws) -> None:
    x = images()
    changed = COLORS[name](x, one)
    assert not torch.allclose(changed, x)
    assert torch.allclose(COLORS[name](changed, two), x)


# ---- what each operation is ---------------------------------------------------------------------------------------


def test_colors_by_hand() -> None:
    x = torch.tensor([0.9, 0.0, -0.3], dtype=torch.float64).view(1, 3, 1, 1)

    def of(name: str, **given: float) -> list[float]:
        return COLORS[name](x, draws(1, **given)).flatten().tolist()

    assert of("brightness", g=2.0) == pytest.approx([1.3, 0.4, 0.1])
    assert of("contrast", g=2.0) == pytest.approx([1.8, 0.0, -0.6])
    assert of("luma-flip", u=0.5) == pytest.approx([0.5, -0.4, -0.7])  # the mean 0.2 becomes -0.2
    assert of("luma-flip", u=0.4) == pytest.approx([0.9, 0.0, -0.3])
    assert of("saturation", g=1.0) == pytest.approx([1.6, -0.2, -0.8])
    assert of("hue", u=0.5 + 1 / 3) == pytest.approx([-0.3, 0.9, 0.0])  # a third of a turn: the next channel
    gray = images(2, 1)
    for name in ("hue", "saturation"):
        assert torch.equal(COLORS[name](gray, draws(2, u=0.8, g=1.0)), gray)


def test_a_hue_keeps_gray_and_lengths() -> None:
    x = images()
    turned = COLORS["hue"](x, draws(4, u=0.83))
    assert torch.allclose(turned.mean(1), x.mean(1))
    assert torch.allclose(turned.square().sum(1), x.square().sum(1))


def test_diffaugment_by_hand() -> None:
    """u = (1/2, 1/2, 1/2) is no change of color; the middle draw no shift; boxes of half the sides."""
    x = images(3, 3, 8, 8)
    u = torch.full((3, 7), 0.5, dtype=torch.float64)
    assert torch.allclose(POLICIES["color"](x, u), x)
    assert torch.equal(POLICIES["translation"](x, u), x)
    u[:, 0], u[:, 1], u[:, 2] = 0.75, 0.0, 1.0
    gray = x.mean(1, keepdim=True) + 0.25
    level = gray.mean((1, 2, 3), keepdim=True)
    assert torch.allclose(POLICIES["color"](x, u), (level + 1.5 * (gray - level)).expand_as(x))
    u[:, 3], u[:, 4] = 0.0, 0.99  # 8 / 8 = 1 pixel up, 1 to the right
    moved = POLICIES["translation"](x, u)
    assert torch.equal(moved[:, :, :-1, 1:], x[:, :, 1:, :-1])
    assert float(moved[:, :, -1].abs().max()) == 0 == float(moved[:, :, :, 0].abs().max())
    u[:, 5], u[:, 6] = 0.5, 0.0  # the box begins at row 4 - 2, column 0 - 2
    cut = POLICIES["cutout"](x, u)
    assert float(cut[:, :, 2:6, 0:2].abs().max()) == 0
    assert int((cut == 0).sum()) == 3 * 3 * 4 * 2


def test_cutout_of_ada_is_a_quarter_of_the_image_where_it_fits() -> None:
    x = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    cut = COLORS["cutout"](x, draws(1, u=0.5, v=0.75))
    assert float(cut[:, :, 2:6, 4:8].abs().max()) == 0
    assert int((cut == 0).sum()) == 16


# ---- statistics ---------------------------------------------------------------------------------------------------


def test_an_operation_is_done_with_probability_p() -> None:
    """Each on its own rows; one of the two rotations with p, each with 1 - sqrt(1 - p)."""
    n, p = 20_000, torch.tensor(0.3)
    d = drawn([*MOVES, *COLORS, "noise"], torch.zeros(n, 1), key=("p",), first=0)
    for name in MOVES:
        if name != AGAIN:
            found = composed(d, p, (name,), (8, 8))
            assert found is not None
            assert float(found[0].float().mean()) == pytest.approx(0.3, abs=0.015)
    gates = torch.stack([g.gate for g in d.values()])
    assert float((torch.corrcoef(gates) - torch.eye(len(gates))).abs().max()) < 0.04
    assert composed(d, p, ("hue",), (8, 8)) is None


def test_what_is_drawn_is_what_the_paper_says() -> None:
    n = 20_000
    d = {k: Draws(v.gate, v.u, v.g) for k, v in drawn([*MOVES], torch.zeros(n, 1), key=("q",), first=0).items()}
    flips = MOVES["x-flip"](d["x-flip"], (8, 8))[:, 0, 0]
    assert float(flips.mean()) == pytest.approx(0.0, abs=0.03)
    turns = MOVES["quarter-turns"](d["quarter-turns"], (8, 8))
    angle = (torch.atan2(turns[:, 1, 0], turns[:, 0, 0]) / (math.pi / 2)).round().remainder(4)
    assert [float((angle == k).float().mean()) for k in range(4)] == pytest.approx([0.25] * 4, abs=0.02)
    only_half = MOVES["quarter-turns"](d["quarter-turns"], (8, 6))
    assert float(only_half[:, 0, 1].abs().max()) == 0  # a picture that is not square is not laid on its side
    scale = MOVES["isotropic-scaling"](d["isotropic-scaling"], (8, 8))[:, 0, 0]
    assert float(scale.log2().std()) == pytest.approx(0.2, rel=0.05)
    moved = MOVES["fractional-translation"](d["fractional-translation"], (16, 8))
    assert float(moved[:, 0, 2].std()) == pytest.approx(1.0, rel=0.05)
    assert float(moved[:, 1, 2].std()) == pytest.approx(2.0, rel=0.05)
    whole = MOVES["integer-translation"](d["integer-translation"], (16, 8))
    assert float(whole[:, 1, 2].abs().max()) == 2
    assert torch.equal(whole, whole.round())


def test_noise_is_of_a_strength_of_its_own_in_each_row() -> None:
    x = torch.zeros(400, 1, 16, 16)
    strength = seen("ada", x, policy=("noise",), p=1.0).flatten(1).std(1)
    assert float(strength.square().mean().sqrt()) == pytest.approx(0.1, rel=0.15)
    assert float(strength.std()) > 0.03


# ---- what is given with a sample ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ada", "diffaugment"])
def test_images_that_are_given_move_with_the_sample(name: str) -> None:
    """One draw for both; vectors and images of another size stay as they are."""
    x = images()
    options = {"p": 1.0, "policy": OPERATIONS[:-1]} if name == "ada" else {}
    shown, twin, vector, small = seen(name, x, x, torch.ones(4, 5), images(4, 1, 3, 3), **options)
    assert torch.equal(shown, twin)
    assert torch.equal(vector, torch.ones(4, 5))
    assert small.shape == (4, 1, 3, 3)
    assert not torch.equal(shown, x)


@pytest.mark.parametrize("name", ["ada", "diffaugment"])
def test_points_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"trick '{name}' is for images .* shape \[2\]; use instance-noise"):
        play("mlp", f"tricks.{name}={{}}", data=Rows(POINTS))


def test_an_unknown_operation_is_refused() -> None:
    with pytest.raises(InputError, match=r"tricks.ada.policy"):
        play("mlp", "tricks.ada.policy=[spin]")


def test_an_operation_s_numbers_do_not_depend_on_the_others() -> None:
    x = images()
    alone = seen("ada", x, policy=("brightness",), p=1.0)
    assert torch.allclose(
        seen("ada", x, policy=("brightness", "noise"), p=1.0).mean((1, 2, 3)), alone.mean((1, 2, 3)), atol=0.1
    )
    assert torch.allclose(seen("ada", x, policy=("brightness", "hue"), p=1.0).mean(1), alone.mean(1))


def test_slight_changes_are_small_and_of_every_kind() -> None:
    size = (16, 24)
    still = slight(torch.full((1, 5), 0.5), size)
    assert torch.allclose(still, torch.eye(3).unsqueeze(0))
    u = torch.full((4, 5), 0.5)
    u[0, 0], u[1, 1], u[2, 3], u[3, 4] = 1.0, 1.0, 1.0, 0.0
    turned, wider, right, up = slight(u, size)
    assert float(turned[0, 0]) == pytest.approx(math.cos(math.radians(25)))
    assert abs(float(turned[0, 1])) == pytest.approx(math.sin(math.radians(25)))
    assert float(wider[0, 0]) == pytest.approx(1 / 1.2) and float(wider[1, 1]) == pytest.approx(1)
    assert float(right[0, 2]) == pytest.approx(3) and float(up[1, 2]) == pytest.approx(-2)  # an eighth of 24, of 16
    x = torch.rand(1, 2, *size)
    assert torch.allclose(warp(x, right.unsqueeze(0))[..., :21], x[..., 3:], atol=1e-6)
