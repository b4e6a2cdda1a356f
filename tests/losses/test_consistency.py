"""Consistency: the transformation of images by hand, what is compared with what, latents that move."""

from __future__ import annotations

import pytest
import torch
from penalty_cases import FAKE, REAL, Linear, Makes, Quadratic, W, drawn, made, seen, value
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.critics import Critics, Verdict
from gantlet.core.errors import InputError
from gantlet.core.when import Now
from gantlet.losses.consistency import transformed
from gantlet.losses.penalties import evidence
from helpers import POINTS, Rows, number, play

F64 = torch.float64
ROW = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]], dtype=F64)


def once(x: Tensor, *u: float, flip: bool = False, shift: float = 0.25) -> Tensor:
    return transformed(x.view(1, 1, *x.shape), torch.tensor([u], dtype=F64), flip=flip, shift=shift)[0, 0]


def test_a_shift_mirrors_what_is_there() -> None:
    """By -2..2 of 8 pixels, each a fifth of 0..1; the edge is not repeated."""
    rows = {
        0.0: [3, 4, 5, 6, 7, 8, 7, 6],
        0.3: [2, 3, 4, 5, 6, 7, 8, 7],
        0.5: [1, 2, 3, 4, 5, 6, 7, 8],
        0.7: [2, 1, 2, 3, 4, 5, 6, 7],
        0.99: [3, 2, 1, 2, 3, 4, 5, 6],
    }
    for u, wanted in rows.items():
        assert once(ROW, 1.0, 0.0, u)[0].tolist() == wanted
        assert once(ROW.T, 1.0, u, 0.0)[:, 0].tolist() == wanted


def test_a_flip_is_left_to_right_and_comes_first() -> None:
    x = torch.arange(16.0, dtype=F64).view(4, 4)
    assert torch.equal(once(x, 0.49, 0.5, 0.5, flip=True), x.flip(1))
    assert torch.equal(once(x, 0.5, 0.5, 0.5, flip=True), x)
    assert torch.equal(once(x, 0.0, 0.5, 0.5, flip=False), x)
    assert torch.equal(once(x, 0.0, 0.0, 0.5, flip=True), x.flip(1)[[1, 2, 3, 2]])


def test_rows_and_channels_move_each_as_one() -> None:
    """A row has one draw, its channels move together; a picture of one pixel stays, of more it moves by one at least."""
    x = torch.arange(2 * 3 * 8.0, dtype=F64).view(2, 3, 1, 8)
    u = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.99]], dtype=F64)
    out = transformed(x, u, flip=False, shift=0.25)
    for c in range(3):
        assert torch.equal(out[0, c, 0], x[0, c, 0, [2, 3, 4, 5, 6, 7, 6, 5]])
        assert torch.equal(out[1, c, 0], x[1, c, 0, [2, 1, 0, 1, 2, 3, 4, 5]])
    tiny = torch.tensor([[1.0, 2.0, 3.0]], dtype=F64)
    assert transformed(tiny.expand(2, 1, 1, 3), u, flip=False, shift=0.01).tolist() == [[[[2, 3, 2]]], [[[2, 1, 2]]]]
    assert torch.equal(transformed(x, u, flip=False, shift=0.0), x)
    assert torch.equal(transformed(x[..., :1], u, flip=False, shift=0.5), x[..., :1])


def test_the_transformation_is_linear_in_the_picture() -> None:
    """So that its derivatives of any order are those of a gather."""
    u = torch.tensor([[0.0, 0.9, 0.1], [1.0, 0.5, 0.9]], dtype=F64)
    x = torch.rand(2, 1, 4, 5, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: transformed(t, u, flip=True, shift=0.25), x)
    assert torch.autograd.gradgradcheck(lambda t: transformed(t, u, flip=True, shift=0.25).square(), x)


class Sees(nn.Module):
    """D(x, given) = sum of x times given, or of x times a ramp; keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[Tensor, ...]] = []
        self.ramp = nn.Parameter(torch.linspace(-1, 1, 64, dtype=F64).view(1, 8, 8))

    def forward(self, x: Tensor, *given: Tensor) -> Verdict:
        self.shown.append((x.detach(), *(g.detach() for g in given)))
        other = given[0] if given else self.ramp
        return Verdict((x * other).sum((1, 2, 3)), (x, 2 * x))


IMAGES = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=F64)


def test_images_and_what_goes_with_them_move_alike() -> None:
    """Image-like `given` takes the same T: of a picture and its copy the product is that of the moved picture."""
    critic = Sees()
    e = evidence(Critics({"D": critic}), IMAGES, IMAGES, (IMAGES.clone(), torch.ones(64, 2)), Now())
    made("bcr").term(e)
    for x, given, label in critic.shown[-2:]:
        assert torch.equal(x, given)
        assert bool((label == 1).all())
        assert not torch.equal(x, IMAGES)
    assert not torch.equal(critic.shown[-1][0], critic.shown[-2][0])  # another draw for fakes


def test_moves_are_keyed_by_row_and_of_all_kinds() -> None:
    """Rows 32.. of a batch move as they do alone; at 8 pixels an eighth is a move of -1, 0 or 1, flipped or not."""
    critic = Sees()
    many = Critics({"D": critic})
    made("cr").term(evidence(many, IMAGES, IMAGES, (), Now()))
    whole = critic.shown[-1][0]
    made("cr").term(evidence(many, IMAGES[32:], IMAGES[32:], (), Now(first=32)))
    assert torch.equal(critic.shown[-1][0], whole[32:])
    kinds = {
        (f, dy, dx): transformed(
            IMAGES, torch.tensor([[f, dy, dx]], dtype=F64).expand(64, 3), flip=True, shift=0.125
        )
        for f in (0.0, 0.9) for dy in (0.0, 0.5, 0.9) for dx in (0.0, 0.5, 0.9)
    }  # fmt: skip
    found = [[k for k, moved in kinds.items() if torch.equal(moved[i], whole[i])] for i in range(64)]
    assert all(len(kind) == 1 for kind in found)
    assert len({kind[0] for kind in found}) == 18


def test_a_critic_that_cannot_tell_pays_nothing() -> None:
    """The sum over pixels does not know left from right."""

    class Sums(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sum((1, 2, 3))

    e = evidence(Critics({"D": Sums()}), IMAGES, IMAGES, (), Now())
    assert number(made("cr", shift=0.0).term(e)) == pytest.approx(0, abs=1e-20)
    assert number(made("cr").term(e)) > 0.1


@pytest.mark.parametrize("name", ["cr", "bcr"])
def test_a_copy_differs_from_its_picture(name: str) -> None:
    """The least shift there is moves some of 8 x 8 pixels; what would move nothing is refused."""
    critic = Sees()
    e = evidence(Critics({"D": critic}), IMAGES, IMAGES, (), Now())
    assert number(made(name, flip=False, shift=0.01).term(e)) > 0.1
    with pytest.raises(InputError, match=f"penalty '{name}': .*use shift=0.125 or flip=true"):
        made(name, flip=False, shift=0.0)
    assert registry.check("penalty", {"use": name, "jitter": 0.0})[1] != []


def test_last_features_count_on_request() -> None:
    """The mean square of the difference of the last features, 2 x and 2 T(x), is added to that of the logits."""
    critic = Sees()
    e = evidence(Critics({"D": critic}), IMAGES, IMAGES, (), Now())
    plain, both = (number(made("cr", weight=1.0, features=f).term(e)) for f in (False, True))
    moved = critic.shown[-1][0]
    assert both - plain == pytest.approx(float((2 * IMAGES - 2 * moved).square().mean()))
    with pytest.raises(InputError, match="features"):
        made("cr", features=True).term(seen(Linear()))


def test_bcr_is_cr_on_both_sides() -> None:
    one = number(value(made("cr", weight=3.0), Quadratic()))
    assert number(value(made("bcr", real_weight=3.0, fake_weight=0.0), Quadratic())) == one
    other = number(value(made("bcr", real_weight=0.0, fake_weight=2.0), Quadratic()))
    assert number(value(made("bcr", real_weight=3.0, fake_weight=2.0), Quadratic())) == pytest.approx(one + other)


def test_zcr_pulls_the_critic_together_and_the_samples_apart() -> None:
    """D: a E (w . (sigma n B))^2; G: -b E (sigma n B)^2 over the entries, for the same n."""
    penalty = made("zcr", d_weight=2.0, g_weight=4.0, sigma=0.3)
    assert penalty.term is not None
    assert penalty.g_term is not None
    e = seen(Linear(), G=(G := Makes()))
    step = 0.3 * drawn("zcr") @ G.B.detach()
    assert number(penalty.term(e)) == pytest.approx(2 * float((step @ W).square().mean()))
    assert number(penalty.g_term(e)) == pytest.approx(-4 * float(step.square().mean()))


def test_zcr_compares_samples_of_latents_whatever_is_put_before_the_critics() -> None:
    """A trick may show the critics fakes of the past; those have other latents."""
    now, then = seen(Quadratic()), seen(Quadratic(), fake=FAKE + 5)
    assert torch.equal(made("zcr").term(now), made("zcr").term(then))
    assert REAL.shape == FAKE.shape


@pytest.mark.parametrize("sigma", [0.05, 0.01])
def test_low_precision_does_not_drown_what_zcr_compares(sigma: float) -> None:
    """Under bf16 both samples, and what the critic says of them, are float32's, in either turn."""
    said = []
    for precision in ("float32", "bf16"):
        options = f"penalties.zcr={{sigma: {sigma}, d_weight: 1, g_weight: 1}}"
        made_ = play("mlp", options, "batch=32", data=Rows(POINTS), precision=precision)
        batch, now = made_.engine.draw(made_.state, made_.data)
        terms = []
        for turn in made_.state.turns:
            terms.append(number(made_.engine.gradient(made_.state, turn, batch, now).report.terms["zcr"]))
        said.append(terms)
    assert said[1] == pytest.approx(said[0], rel=1e-4)
    assert said[0][0] > 0 > said[0][1]


@pytest.mark.parametrize("name", ["stylegan", "stylegan2-small", "fastgan"])
def test_zcr_is_not_for_noise_that_follows_the_latent(name: str) -> None:
    """Two samples of nearly one latent would differ by their noise, which G would be paid for."""
    with pytest.raises(InputError, match=r"penalty 'zcr' .* use style3"):
        play(name, "penalties.zcr={}").run(1)


def test_zcr_plays_with_styles_that_draw_nothing() -> None:
    play("stylegan3-t", "penalties.zcr={}").run(1).state.check_finite()
