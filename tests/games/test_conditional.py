"""Games that are told the class: G(z, y) against D(x, y)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gantlet.core.critics import Verdict
from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Spec
from gantlet.core.recipe import recipe
from gantlet.core.train import train
from gantlet.core.when import Now
from gantlet.data import open_source
from gantlet.games.classic import Classic
from gantlet.runs.build import spec_of
from helpers import Rows, play, state_of

SPEC = Spec((2,), classes=3, shares=(0.5, 0.3, 0.2))


class Table(nn.Module):
    """G(z, y) = a row of a table, plus z"""

    z_dim = 2

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.rows = nn.Embedding(spec.classes, 2)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return z + self.rows(y)


class Bilinear(nn.Module):
    """D(x, y) = x . w_y"""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.rows = nn.Embedding(spec.classes, 2)

    def forward(self, x: Tensor, y: Tensor) -> Verdict:
        return Verdict((x * self.rows(y)).sum(1), (x,))


def game() -> Classic:
    torch.manual_seed(0)
    return Classic(SPEC, G=Table, D=Bilinear, conditional=True)


def test_fakes_bear_the_labels_of_their_reals() -> None:
    made = game()
    y = torch.tensor([2, 0, 1, 1])
    scene = made.stage(Batch(torch.zeros(4, 2), y), Now())
    assert torch.equal(scene.given[0], y)
    assert scene.z is not None
    assert torch.allclose(scene.fake - scene.z[:, :2], made.G.net.rows(y))
    assert made.labelled
    assert made.classes == 3


def test_a_latent_says_which_class_it_is_for() -> None:
    """Without a label the latent's last coordinate chooses, as often as the data has the class."""
    made = game()
    z = made.latent(20_000, seed=1)
    y = made.classes_of(z)
    assert y is not None
    share = y.bincount(minlength=3) / len(y)
    assert share.tolist() == pytest.approx([0.5, 0.3, 0.2], abs=0.012)
    assert torch.equal(made.generate(z), made.generate(z, y))
    assert not torch.equal(made.generate(z), made.generate(z, (y + 1) % 3))
    far = torch.tensor([[0.0, 0.0, -60.0], [0.0, 0.0, 60.0]])
    assert made.classes_of(far).tolist() == [0, 2]


def test_shares_are_the_data_s_and_are_not_saved() -> None:
    """A class without rows is never drawn; a state of other shares leaves these as they are; balance is of training."""
    for shares, wanted in (((0.5, 0.5, 0.0), {0, 1}), ((0.0, 0.5, 0.5), {1, 2}), ((0.5, 0.0, 0.5), {0, 2})):
        made = Classic(SPEC._replace(shares=shares), G=Table, D=Bilinear, conditional=True)
        z = torch.cat([made.latent(2000, seed=0), torch.tensor([[0.0, 0.0, -60.0], [0.0, 0.0, 60.0]])])
        assert set(made.classes_of(z).tolist()) == wanted
        made.load_state_dict(game().state_dict())
        assert set(made.classes_of(z).tolist()) == wanted
    digits = open_source("digits")
    for balanced in (True, False):
        assert spec_of(recipe("cgan").override(balanced=balanced), digits).shares == digits.spec.shares
    assert len(digits.spec.shares) == 10


def test_it_plays_and_both_tables_move() -> None:
    made = game()
    state = state_of(made)
    before = [w.detach().clone() for w in made.parameters()]
    train(state, Engine(batch=8), Rows(SPEC), 3)
    assert all(not torch.equal(a, b) for a, b in zip(before, made.parameters(), strict=True))


def test_an_unconditional_game_keeps_the_classes_from_its_networks() -> None:
    seen: list[Spec] = []

    def spied(spec: Spec) -> nn.Module:
        seen.append(spec)
        return Table(spec._replace(classes=3))

    Classic(SPEC, G=spied, D=Bilinear(SPEC))
    assert (seen[0].classes, seen[0].shares) == (0, ())


def test_what_cannot_be_conditional_says_so() -> None:
    with pytest.raises(InputError, match=r"conditional=true: the data has no classes"):
        Classic(SPEC._replace(classes=0, shares=()), G=Table, D=Bilinear, conditional=True)
    with pytest.raises(InputError) as caught:
        play("dcgan", "conditional=true", "tricks.image-pool.size=8")
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["G", "D", "tricks.image-pool"]
    with pytest.raises(InputError, match=r"these rows have no labels"):
        game().stage(Batch(torch.zeros(4, 2)), Now())
