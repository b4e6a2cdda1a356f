"""InfoGAN: what a latent says, what Q costs, who learns it, and the picture of it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.critics import Verdict
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Spec
from gantlet.core.recipe import recipe
from gantlet.core.when import Now
from gantlet.games.codes import Coded, Codes, bound, categorical_cost, continuous_cost
from gantlet.games.info import traversal
from gantlet.games.invariance import mutual
from gantlet.runs import model as models
from helpers import IMAGES, POINTS, Rows, number, play, same

OPTIONS: dict[str, Any] = {"G": {"use": "mlp", "z": 9, "hidden": [8]}, "D": {"use": "mlp", "hidden": [8]}}
CODES = Codes((3, 2), 1)
CPU = torch.device("cpu")


def game(spec: Spec = POINTS, **options: Any) -> Any:
    torch.manual_seed(0)
    given = {**OPTIONS, "categorical": (3, 2), "continuous": 1, **options}
    tree, faults = registry.check("game", {"use": "info", **given})
    assert not faults, faults
    return registry.bind("game", tree, total=1)(spec)


class Echo(nn.Module):
    """A generator that shows the nine numbers it was told."""

    z_dim = 9

    def __init__(self, spec: Spec = POINTS) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, z: Tensor) -> Tensor:
        return z * self.scale


def echo(**options: Any) -> Any:
    """The game around it."""
    given = {"categorical": (3, 2), "continuous": 1, **options}
    return registry.game.parts["info"].fn(POINTS, G=Echo, D=OPTIONS["D"], **given)


# ---- what a latent says -------------------------------------------------------------------------------------------


def test_standard_normal_latents_say_uniform_codes() -> None:
    made = game()
    assert made.z_dim == 9 - 6 + 3  # noise and a coordinate a code
    z = made.latent(20_000, seed=1).double()
    for kind, k in zip(CODES.kinds(z), CODES.categorical, strict=True):
        assert (kind.bincount(minlength=k) / len(z)).tolist() == pytest.approx([1 / k] * k, abs=0.012)
    values = CODES.values(z).squeeze(1)
    for moment, wanted in ((1, 0.0), (2, 1 / 3), (4, 1 / 5)):  # of a uniform one in -1..1
        assert number(values.pow(moment).mean()) == pytest.approx(wanted, abs=0.015)
    joint = CODES.kinds(z)[0] * 2 + CODES.kinds(z)[1]  # independent of each other
    assert (joint.bincount(minlength=6) / len(z)).tolist() == pytest.approx([1 / 6] * 6, abs=0.012)
    far = torch.tensor([[0.0, -60.0, -60.0, -60.0], [0.0, 60.0, 60.0, 60.0]])
    assert [kind.tolist() for kind in CODES.kinds(far)] == [[0, 2], [0, 1]]
    assert CODES.values(far).tolist() == [[-1.0], [1.0]]


def test_the_net_is_told_noise_one_hot_codes_and_values() -> None:
    made = Coded(Echo(), 9, CODES)
    z = torch.randn(7, made.z_dim)
    told = made(z)
    kinds, values = CODES.kinds(z), CODES.values(z)
    assert torch.equal(told[:, :3], z[:, :3])
    assert torch.equal(told[:, 3:6], F.one_hot(kinds[0], 3).float())
    assert torch.equal(told[:, 6:8], F.one_hot(kinds[1], 2).float())
    assert torch.allclose(told[:, 8:], values)
    assert made.fixed_latents == 3
    asked = made(z, torch.full((7,), 2))  # only the first code is asked for
    assert torch.equal(asked[:, 3:6], F.one_hot(torch.full((7,), 2), 3).float())
    assert torch.equal(asked[:, 6:], told[:, 6:])


def test_a_code_is_asked_for_as_a_class() -> None:
    made = game().eval()
    z = made.latent(30, seed=2)
    y = made.classes_of(z)
    assert made.classes == 3 and set(y.tolist()) == {0, 1, 2}
    assert not made.labelled
    assert torch.equal(made.generate(z), made.generate(z, y))
    assert not torch.equal(made.generate(z), made.generate(z, (y + 1) % 3))
    none = game(categorical=())
    assert none.classes == 0 and none.classes_of(none.latent(3, seed=0)) is None


# ---- what Q costs -------------------------------------------------------------------------------------------------


def test_a_perfect_q_bounds_the_information_by_the_entropy() -> None:
    """H(c) - E -log Q: all of H(c) = log 3 + log 2 where Q is sure and right, 0 where it knows nothing."""
    kinds = [torch.randint(3, (50,)), torch.randint(2, (50,))]
    sure = [60.0 * F.one_hot(kind, k).double() for kind, k in zip(kinds, CODES.categorical, strict=True)]
    blank = [torch.zeros(50, k, dtype=torch.float64) for k in CODES.categorical]
    assert number(bound(categorical_cost(sure, kinds), CODES)) == pytest.approx(math.log(6), abs=1e-9)
    assert CODES.entropy == pytest.approx(math.log(6))
    balanced = [torch.arange(54) % 3, torch.arange(54) % 2]
    even = [torch.zeros(54, k, dtype=torch.float64) for k in CODES.categorical]
    assert number(bound(categorical_cost(even, balanced), CODES)) == pytest.approx(0, abs=1e-12)
    assert number(bound(categorical_cost(blank, kinds), CODES)) == pytest.approx(0, abs=1e-12)


def test_the_continuous_cost_is_a_gaussian_s() -> None:
    means, values = torch.randn(9, 2, dtype=torch.float64), torch.rand(9, 2, dtype=torch.float64)
    wanted = -torch.distributions.Normal(means, 0.3).log_prob(values).sum(1).mean()
    assert number(continuous_cost(means, values, 0.3)) == pytest.approx(number(wanted), rel=1e-12)


def test_both_players_pay_for_what_q_does_not_know() -> None:
    """The term is -log Q of the codes of the very latents that made the fakes; reals have no part in it."""
    made = game(weights=(0.7, 0.2)).double()
    seen = made.stage(Batch(torch.randn(8, 2, dtype=torch.float64)), Now(step=3))
    logits, means = made.read(seen.fake)
    kinds, values = CODES.kinds(seen.z), CODES.values(seen.z)
    cost = sum(F.cross_entropy(said, kind) for said, kind in zip(logits, kinds, strict=True))
    square = 0.2 * continuous_cost(means, values, 0.3)
    for loss in (made.d_wants(seen), made.g_wants(seen)):
        assert number(loss.terms["info"]) == pytest.approx(0.7 * number(cost), rel=1e-12)
        assert number(loss.terms["info.continuous"]) == pytest.approx(number(square), rel=1e-12)
    assert number(made.d_wants(seen).stats["information"]) == pytest.approx(math.log(6) - number(cost), rel=1e-12)


def test_mutual_information_is_that_of_the_joint_table() -> None:
    """log K of two sure and even names of the same rows, 0 of independent ones, and sum p log p / (p q) between."""
    kinds = torch.arange(60) % 3
    sure = 80.0 * F.one_hot(kinds, 3).double()
    assert number(mutual(sure, sure)) == pytest.approx(math.log(3), abs=1e-9)
    assert number(mutual(sure, torch.zeros(60, 3).double())) == pytest.approx(0, abs=1e-9)
    one_sided = torch.zeros(60, 3).double() + torch.tensor([80.0, 0, 0])  # all in one cluster: nothing said
    assert number(mutual(one_sided, one_sided)) == pytest.approx(0, abs=1e-9)
    table = torch.tensor([[0.3, 0.1], [0.1, 0.5]], dtype=torch.float64)
    # rows drawn as that table says: p(a) sure, p(b | a) as a softmax
    given = torch.cat([(table[a] / table[a].sum()).log().expand(round(10 * float(table[a].sum())), 2) for a in (0, 1)])
    named = 80.0 * F.one_hot(torch.tensor([0] * 4 + [1] * 6), 2).double()
    wanted = (table * (table / (table.sum(1, keepdim=True) * table.sum(0))).log()).sum()
    assert number(mutual(named, given)) == pytest.approx(number(wanted), abs=1e-9)
    assert number(mutual(given, named)) == pytest.approx(number(wanted), abs=1e-9)


def test_q_learns_on_reals_what_slight_changes_leave() -> None:
    """The term is D's alone, minus the weighted information, and moves Q and D's features; G's turn is as without it."""
    images = Spec((1, 16, 16))
    nets = {"G": {"use": "dcgan", "z": 9, "width": 4}, "D": {"use": "dcgan", "width": 4}}
    with_it, without = (game(images, invariance=w, **nets) for w in (0.5, 0.0))
    batch, now = Batch(torch.rand(8, 1, 16, 16) * 2 - 1), Now(step=2)
    seen = with_it.stage(batch, now)
    loss = with_it.d_wants(seen)
    term = loss.terms["info.invariance"]
    assert -0.5 * math.log(6) <= number(term) <= 0
    head = with_it.arena.critics.critics["D"].head
    moved = torch.autograd.grad(term, [*head.parameters()], allow_unused=True)
    assert moved[-1] is not None and bool(moved[0].abs().max() > 0)
    assert "info.invariance" not in with_it.g_wants(seen).terms
    assert "info.invariance" not in without.d_wants(without.stage(batch, now)).terms
    again = with_it.d_wants(with_it.stage(batch, now)).terms["info.invariance"]
    assert number(again) == pytest.approx(number(term), abs=1e-5)  # drawn from the step, not from a generator
    with pytest.raises(InputError, match=r"invariance=1.*samples of shape \[2\].*leave it at 0"):
        game(invariance=1.0)
    with pytest.raises(InputError, match=r"categorical is \(\)"):
        game(images, invariance=1.0, categorical=(), **nets)


def test_q_learns_with_d_and_g_with_g() -> None:
    """G's turn leaves Q as it is, D's turn moves its head; an average has a Q of its own."""
    made = play("infogan")
    state = made.state
    head = state.game.arena.critics.critics["D"].head
    assert all(any(p is w for w in state.players["D"].weights) for p in head.parameters())
    assert not any(p is w for w in state.players["G"].weights for p in head.parameters())
    D, G = state.game.arena.critics.critics["D"], state.game.G
    for turn, moved in ((1, "G"), (0, "D")):
        before = {"D": [w.detach().clone() for w in D.parameters()], "G": [w.detach().clone() for w in G.parameters()]}
        batch, now = made.engine.draw(state, made.data)
        gradient = made.engine.gradient(state, state.turns[turn], batch, now)
        made.engine.move(state, state.turns[turn].player, gradient)
        found = {name for name, net in (("D", D), ("G", G)) if not same(before[name], net.parameters())}
        assert found == {moved}, (turn, found)
    assert len(list(head.parameters())) >= 4 and gradient.turn.name == "D"
    names = {id(w): g for w, g in zip(state.players["D"].weights, gradient.grads)}
    assert all(bool(names[id(p)].abs().max() > 0) for p in head.parameters())
    made.run(2)
    mean = state.averages["ema"].game
    x = torch.rand(4, *IMAGES.shape) * 2 - 1
    state.game.eval()
    assert mean.codes_of(x).shape == (4, 3)
    assert not torch.equal(mean.codes_of(x), state.game.codes_of(x))


def test_q_is_normalised_where_d_is() -> None:
    for on, wanted in (("true", 1), ("false", 0)):
        made = play("infogan", f"D.batch_norm={on}", data=Rows(Spec((1, 16, 16))))
        head = made.state.game.arena.critics.critics["D"].head
        assert sum(isinstance(m, nn.BatchNorm1d) for m in head.modules()) == wanted


def test_a_small_game_learns_its_codes() -> None:
    """Three far points in the plane and a three-way code: Q comes to know most of it."""

    class Three(Rows):
        def take(self, first: int, n: int, device: torch.device) -> Batch:
            angle = torch.arange(first, first + n) % 3 * (2 * math.pi / 3)
            return Batch(torch.stack([angle.cos(), angle.sin()], 1))

    changes = ["G={use: mlp, z: 8, hidden: [32]}", "D={use: mlp, hidden: [32]}", "continuous=0", "batch=32",
               "players.D.lr=0.003", "players.G.lr=0.003"]  # fmt: skip
    made = play(recipe("infogan").override(*changes, "categorical=[3]"), data=Three(POINTS))
    begun = made.run(1).step()["D"].stats["information"]
    made.run(70)
    assert number(begun) < 0.3
    assert number(made.step()["D"].stats["information"]) > 0.8  # of 1.0986


# ---- as a model ---------------------------------------------------------------------------------------------------


def test_a_saved_model_names_codes(tmp_path: Any) -> None:
    made = play("infogan").run(2)
    state, config = made.state, models.config_of(made.recipe.tree, IMAGES)
    models.save(state.best_game(), config, tmp_path)
    loaded = models.load(tmp_path).game
    x = torch.rand(3, *IMAGES.shape) * 2 - 1
    assert torch.equal(loaded.codes_of(x), state.best_game().codes_of(x))
    z = loaded.latent(4, seed=0)
    assert torch.equal(loaded.generate(z), state.best_game().generate(z))
    assert same(loaded.made_of()["Q"].state_dict().values(), state.best_game().made_of()["Q"].state_dict().values())


def test_a_traversal_walks_one_code_at_a_time() -> None:
    made = echo().eval()
    grid = traversal(made, columns=5, span=1.5, seed=3)
    assert grid.shape == (3 * 5, 9)
    assert grid[:, :3].unique(dim=0).shape[0] == 1  # one noise
    assert torch.equal(grid[:, 3:6].argmax(1), torch.arange(3).repeat_interleave(5))
    assert grid[:, 6:8].unique(dim=0).shape[0] == 1  # the other code stays
    assert torch.allclose(grid[:, 8].view(3, 5), torch.linspace(-1.5, 1.5, 5).expand(3, 5))
    other = traversal(made, categorical=1, columns=2)
    assert other.shape == (4, 9) and torch.equal(other[:, 6:8].argmax(1), torch.tensor([0, 0, 1, 1]))
    plain = traversal(echo(continuous=0), columns=4)  # columns are noises then
    assert plain[:, :4].unique(dim=0).shape[0] == 4 and torch.equal(plain[:4, :4], plain[4:8, :4])
    smooth = traversal(echo(categorical=(), continuous=2), code=1, columns=3)
    assert smooth.shape == (3, 9) and smooth[:, 7].unique().numel() == 1 and smooth[:, 8].tolist() == [-2, 0, 2]


# ---- bad input ----------------------------------------------------------------------------------------------------


class Silent(nn.Module):
    """A critic without features."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Verdict:
        return Verdict(self.layer(x).squeeze(1))


def test_what_cannot_have_codes_says_so() -> None:
    with pytest.raises(InputError, match=r"G.z=6: the codes are 6 of .* use at least 7"):
        game(G={"use": "mlp", "z": 6})
    with pytest.raises(InputError, match=r"there is no code; use at least one"):
        game(categorical=(), continuous=0)
    with pytest.raises(InputError, match=r"D: Silent shows no features"):
        registry.game.parts["info"].fn(POINTS, **{**OPTIONS, "D": Silent})
    with pytest.raises(InputError, match=r"tricks\.image-pool: .*tricks\.image-pool=null"):
        play("infogan", "tricks.image-pool={}")
    with pytest.raises(InputError, match=r"tricks\.info: .*another label"):
        play("infogan", "tricks.info={use: instance-noise}")
    with pytest.raises(InputError, match="packed samples are of several codes"):
        play("infogan", "tricks.packing={}")
    with pytest.raises(InputError, match=r"tricks\.virtual-batch-norm: it puts latents of its own before G"):
        play("infogan", "tricks.virtual-batch-norm={}")
    normalised = play("infogan", "tricks.virtual-batch-norm={role: D, size: 4}", data=Rows(Spec((1, 16, 16))))
    normalised.run(1).state.check_finite()
    with pytest.raises(InputError, match=r"classic has none; train the recipe infogan"):
        traversal(play("mlp").state.game)
    for wrong in ({"code": 1}, {"categorical": 2}):
        with pytest.raises(InputError, match=r"=\d: the game has \d, counted from 0"):
            traversal(game(), **wrong)
