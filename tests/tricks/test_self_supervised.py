"""Self-supervised critics: quarters and differences by hand, decoders that learn, whose weights the term moves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gantlet.core.critics import Critics, Evidence, Verdict
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Spec
from gantlet.core.when import Now
from gantlet.games.classic import Classic
from gantlet.nets.fastgan import FastGANCritic
from gantlet.tricks.beside import beside_last
from gantlet.tricks.self_supervised import INSIDE, Decoders, SelfSupervised, difference, fitted, quarter
from helpers import POINTS, Rows, number, play, same

SPEC = Spec((2, 16, 16))
SMALL = {"width": 4, "widest": 8}


class Map(nn.Module):
    """A critic whose only feature is the image."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))
        self.decodable = ((0, 2, 0), (0, 2, 0))

    def forward(self, x: Tensor) -> Verdict:
        return Verdict(self.w * x.flatten(1).mean(1), (self.w * x,))


def evidence(critic: nn.Module, real: Tensor, now: Now = Now(), lenses: tuple[object, ...] = ()) -> Evidence:  # noqa: B008
    critics = Critics({"D": critic}, lenses=lenses)
    said = critics(real, now=now, side="real")
    return Evidence(critics, real, real, (), said, said, now)


def test_quarters_by_hand() -> None:
    x = torch.arange(4 * 5 * 4.0).view(4, 1, 5, 4)
    got = quarter(x, torch.tensor([0, 1, 2, 3]))
    assert torch.equal(got[0], x[0, :, :2, :2])
    assert torch.equal(got[1], x[1, :, :2, 2:])
    assert torch.equal(got[2], x[2, :, 3:, :2])
    assert torch.equal(got[3], x[3, :, 3:, 2:])


def test_differences_by_hand() -> None:
    """A constant gap c is c at each scale and has no slopes; a ramp has its slope."""
    a = torch.randn(2, 3, 8, 8)
    assert number(difference(a, a)) == 0
    assert number(difference(a + 0.3, a)) == pytest.approx(0.3, abs=1e-5)
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    values, slopes = [3.5, 3.5, 3.5], [1, 2, 4]  # means stay; neighbours are twice as far apart at each scale
    assert number(difference(ramp, torch.zeros(1))) == pytest.approx((sum(values) + sum(slopes)) / 3)


def test_images_are_averaged_to_what_was_drawn() -> None:
    x = torch.randn(2, 3, 8, 12)
    assert torch.allclose(fitted(x, torch.empty(2, 3, 4, 4)), x.view(2, 3, 4, 2, 4, 3).mean((3, 5)), atol=1e-6)


def test_the_term_is_the_two_differences() -> None:
    """On a critic that keeps the image, with decoders that draw nothing: twice what is to be drawn."""
    trick = SelfSupervised(weight=3.0)
    critic = trick.dress("D", Map(), SPEC)
    for weight in critic.get_submodule(INSIDE).parameters():
        nn.init.zeros_(weight)
    real = 0.25 * torch.ones(4, 2, 16, 16)
    assert number(trick.d_terms(evidence(critic, real))[""]) == pytest.approx(3 * 2 * 0.25)


class Dim:
    """A lens that shows everything at half its value."""

    def shown(self, x: Tensor, given: tuple[Tensor, ...], now: Now, side: str) -> tuple[Tensor, tuple[Tensor, ...]]:
        assert side == "real"
        return x / 2, given


def test_what_was_shown_is_drawn() -> None:
    """Augmented images are what the features are of."""
    trick = SelfSupervised()
    critic = trick.dress("D", Map(), SPEC)
    for weight in critic.get_submodule(INSIDE).parameters():
        nn.init.zeros_(weight)
    real = torch.ones(4, 2, 16, 16)
    assert number(trick.d_terms(evidence(critic, real, lenses=(Dim(),)))[""]) == pytest.approx(2 * 0.5)


def test_quarters_change_from_step_to_step_and_follow_the_row() -> None:
    trick = SelfSupervised()
    critic = trick.dress("D", Map(), SPEC)
    real = torch.randn(8, 2, 16, 16)
    terms = {s: number(trick.d_terms(evidence(critic, real, Now(step=s)))[""]) for s in range(3)}
    assert len({round(t, 6) for t in terms.values()}) == 3
    halves = [trick.d_terms(evidence(critic, real[i : i + 4], Now(first=i)))[""] for i in (0, 4)]
    assert number(torch.stack(halves).mean()) == pytest.approx(terms[0], rel=1e-5)


def test_decoders_learn() -> None:
    """Thirty steps of D's term alone: the loss falls below two thirds."""
    torch.manual_seed(0)
    trick = SelfSupervised(width=16)
    critic = trick.dress("D", FastGANCritic(SPEC, **SMALL), SPEC)
    opt = torch.optim.Adam(critic.parameters(), lr=1e-2)
    coarse = nn.functional.interpolate(2 * torch.rand(16, 2, 4, 4) - 1, scale_factor=4)
    losses = []
    for step in range(31):
        loss = trick.d_terms(evidence(critic, coarse, Now(step=step)))[""]
        losses.append(number(loss))
        opt.zero_grad()
        loss.backward()
        opt.step()
    assert losses[-1] < 0.67 * losses[0]


def test_the_term_moves_d_alone() -> None:
    """D's maps and decoders feel it, the head of logits does not, and in G's turn there is no such term."""
    torch.manual_seed(0)
    game = Classic(
        SPEC, G={"use": "fastgan", "z": 4, **SMALL}, D={"use": "fastgan", **SMALL}, tricks={"again": SelfSupervised()}
    )
    scene = game.stage(Batch(torch.rand(4, 2, 16, 16)), Now())
    assert set(game.g_wants(scene).terms) == {"G"}
    loss = game.d_wants(scene)
    assert set(loss.terms) == {"D", "again"}
    loss.terms["again"].backward()
    assert all(w.grad is None for w in game.G.parameters())
    D = game.arena.critics.critics["D"]
    felt = {name for name, w in D.named_parameters() if w.grad is not None and bool(w.grad.abs().max() > 0)}
    assert {n for n, _ in D.named_parameters() if n.startswith(INSIDE)} <= felt
    assert any(n.startswith("large.downs") for n in felt)
    assert not any(n.startswith(("small", "large.say")) for n in felt)
    assert {id(w) for w in D.get_submodule(INSIDE).parameters()} <= {id(w) for w in game.owns()["D"][0].parameters()}


def test_a_step_of_the_game_moves_the_decoders() -> None:
    made = play("fastgan", data=Rows(SPEC))
    inside = made.state.game.arena.critics.critics["D"].get_submodule(INSIDE)
    before = [w.detach().clone() for w in inside.parameters()]
    made.run(1)
    assert not any(torch.equal(a, b) for a, b in zip(before, inside.parameters()))


def test_a_critic_s_last_layer_is_still_its_own() -> None:
    """What stands beside the last layer must not find a decoder's."""
    critic = SelfSupervised().dress("D", FastGANCritic(SPEC, **SMALL), SPEC)
    last = critic.small.say[-1]
    beside_last(critic, lambda reads: nn.Identity(), 1, "test")
    assert critic.small.say[-1].layer is last


def test_packed_samples_are_drawn_as_they_were_shown() -> None:
    """Two images in one: four channels to draw."""
    made = play("r3gan", "tricks.packing={}", "tricks.self-supervised={}", data=Rows(SPEC))
    inside = made.state.game.arena.critics.critics["D"].get_submodule(INSIDE)
    assert inside.whole.paint.weight.shape[0] == 4
    made.run(2).state.check_finite()


def test_a_critic_that_is_wrapped_later_still_draws() -> None:
    """Told the class after it got decoders."""
    changes = ["conditional=true", "tricks.self-supervised={}", "tricks.concat-labels={}"]
    for name in ("r3gan", "fastgan"):
        made = play(name, *changes, data=Rows(SPEC._replace(classes=3)))
        D = made.state.game.arena.critics.critics["D"]
        (inside,) = [m for m in D.modules() if isinstance(m, Decoders)]
        before = [w.detach().clone() for w in inside.parameters()]
        made.run(1).state.check_finite()
        assert not any(torch.equal(a, b) for a, b in zip(before, inside.parameters()))
    with pytest.raises(InputError, match=r"has decoders already; list the trick once"):
        play("r3gan", *changes, "tricks.again={use: self-supervised}", data=Rows(SPEC._replace(classes=3)))


def test_a_g_is_left_alone() -> None:
    G = nn.Linear(2, 2)
    weights = [w.clone() for w in G.parameters()]
    assert SelfSupervised().dress("G", G, SPEC) is G
    assert same(weights, G.parameters())


def test_what_cannot_be_decoded_says_so() -> None:
    with pytest.raises(
        InputError, match=r"CNNCritic names no feature maps to decode; use fastgan or r3, give your own"
    ):
        play("r1gan", "tricks.self-supervised={}")
    with pytest.raises(InputError, match=r"trick 'self-supervised' is for images"):
        play("mlp", "tricks.self-supervised={}", data=Rows(POINTS))
    with pytest.raises(InputError, match=r"has decoders already; list the trick once"):
        play("fastgan", "tricks.again={use: self-supervised}")
