"""The classic game, and games of one's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.critics import Adversarial, Critics, Verdict
from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Game, Loss, Spec, Turn
from gantlet.core.noise import normal
from gantlet.core.state import Average
from gantlet.core.train import train
from gantlet.core.trick import Trick
from gantlet.core.when import Now
from gantlet.games.arena import Arena, Played
from gantlet.games.classic import Classic
from gantlet.losses.penalties import Penalty
from helpers import DYNAMICS, GAMES, POINTS, Rows, largest_gap, play, same, state_of

SPEC = Spec((2,))


class Shift(nn.Module):
    """G(z) = z + b"""

    z_dim = 2

    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.zeros(2))

    def forward(self, z: Tensor) -> Tensor:
        return z + self.b


class Tilt(nn.Module):
    """D(x) = w . x, as a verdict with features."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((2,), value))

    def forward(self, x: Tensor) -> Verdict:
        return Verdict(x @ self.w, (x,))


def test_what_d_and_g_want() -> None:
    """D wants real above fake and G fakes where D says real: in one step each moves that way."""
    game = Classic(SPEC, G=Shift(), D=Tilt())
    real, fake = torch.full((4, 2), 3.0), torch.full((4, 2), -1.0)
    d = game.d_wants(Played(Now(), real, fake, ()))
    (slope,) = torch.autograd.grad(d.total, game.arena.critics.critics["D"].w)
    assert bool((slope < 0).all())  # descending raises w, so that w . real > w . fake
    game = Classic(SPEC, G=Shift(), D=Tilt(1.0))
    (slope,) = torch.autograd.grad(game.g_wants(Played(Now(), real, game.generate(fake), ())).total, game.G.b)
    assert bool((slope < 0).all())  # descending moves fakes up D's slope
    assert float(d.stats["real"].detach()) == 0.0
    assert set(d.views) == {"real", "fake", "on_real", "on_fake", "features_real", "features_fake"}


def test_terms_are_named_by_their_labels() -> None:
    made = play("r1gan", "penalties.soft={use: r1, gamma: 1}")
    assert list(made.step()["D"].terms) == ["D", "r1", "r2", "soft"]


def test_several_critics_are_summed_for_d_and_averaged_for_g() -> None:
    one, two = (Classic(SPEC, G=Shift(), D=Tilt(0.3)) for _ in range(2))
    two.arena.critics = Critics({"a": Tilt(0.3), "b": Tilt(0.3)})
    two.arena.pairs = dict.fromkeys("ab", two.arena.pairs["D"])
    scene = Played(Now(), torch.ones(4, 2), torch.zeros(4, 2), ())
    assert float(two.d_wants(scene).total.detach()) == pytest.approx(2 * float(one.d_wants(scene).total.detach()))
    assert float(two.g_wants(scene).total.detach()) == pytest.approx(float(one.g_wants(scene).total.detach()))


def test_a_critic_s_verdict_keeps_its_features() -> None:
    (verdict,) = Critics({"D": Tilt()})(torch.ones(3, 2), now=Now(), side="real")
    assert verdict.logits.shape == (3,)
    assert verdict.features[0].shape == (3, 2)


def test_all_critics_see_one_view_and_all_inputs_share_its_draw() -> None:
    class Add(Trick):
        asked: list[str] = []

        def shown(self, x: Tensor, given: tuple[Tensor, ...], now: Now, side: str) -> tuple[Tensor, tuple[Tensor, ...]]:
            self.asked.append(side)
            return x + 1, tuple(g + 1 for g in given)

    class Sum(nn.Module):
        def forward(self, x: Tensor, *given: Tensor) -> Tensor:
            return x.sum(1) + sum(g.sum(1) for g in given)

    critics = Critics({"a": Sum(), "b": Sum()}, lenses=[Add(), Add()])
    said = critics(torch.zeros(2, 3), torch.zeros(2, 1), now=Now(), side="fake")
    assert [v.logits.tolist() for v in said] == [[8.0, 8.0], [8.0, 8.0]]
    assert Add.asked == ["fake", "fake"]


def test_the_latents_of_a_step_depend_on_step_play_seed_and_row_alone() -> None:
    game = play("mlp").state.game
    seen: list[Tensor] = []
    game.G.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    x = torch.zeros(6, 1, 8, 8)
    game.stage(Batch(x), Now(step=3, seed=1))
    game.stage(Batch(x[4:]), Now(step=3, seed=1, first=4, rank=1, images=77))
    assert torch.equal(seen[0][4:], seen[1])
    for other in (Now(step=4, seed=1), Now(step=3, seed=2), Now(step=3, seed=1, play=1)):
        game.stage(Batch(x), other)
        assert not torch.isclose(seen[0], seen[-1]).any()


@pytest.mark.parametrize("name", GAMES)
def test_latents_do_not_depend_on_the_batch(name: str) -> None:
    game = play(name).state.game
    z = game.latent(20, seed=4)
    assert z.shape == (20, game.z_dim)
    assert torch.equal(torch.cat([game.latent(n, seed=4, first=f) for n, f in [(1, 0), (7, 1), (12, 8)]]), z)
    assert not torch.isclose(game.latent(20, seed=5), z).any()


@pytest.mark.parametrize("name", GAMES)
def test_samples_do_not_depend_on_the_batch(name: str) -> None:
    made = play(name).run(2)
    for game in (made.state.game.eval(), made.state.best_game()):
        z = game.latent(10, seed=0)
        with torch.no_grad():
            whole = game.generate(z)
            parts = torch.cat([game.generate(part) for part in z.split([1, 4, 5])])
        assert whole.shape == (10, *made.data.spec.shape)
        assert float((whole - parts).abs().max()) < 1e-4


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_your_own_modules_play(dynamics: str) -> None:
    """Instances of your own networks, losses and penalties go where parts by name go."""
    torch.manual_seed(0)
    mine = Adversarial(d=lambda real, fake: (fake - real).mean(), g=lambda fake, real: -fake.mean())
    small = Penalty(lambda e: 0.5 * e.critics.critics["D"].w.square().sum())
    G, D = Shift(), Tilt()
    game = Classic(SPEC, G=G, D=D, adversarial=mine, penalties={"small": small})
    assert game.G is G
    state = state_of(game, dynamics)
    train(state, Engine(batch=8), Rows(POINTS), 4)
    state.check_finite()
    assert bool((G.b != 0).all())
    assert bool((D.w != 0).all())
    assert game.made_of() == {"G": G}


def test_a_point_mass_finds_its_place() -> None:
    """G learns the mean of the data with a penalised linear critic: the whole package on the smallest problem."""

    class Twos(Rows):
        def take(self, first: int, n: int, device: torch.device) -> Batch:
            return Batch(normal((2,), n, key=("twos",), first=first) + torch.tensor([2.0, -1.0]))

    game = Classic(
        SPEC, G=Shift(), D=Tilt(), adversarial=registry.adversarial.parts["wasserstein"].fn(),
        penalties={"r1": registry.penalty.parts["r1"].fn(gamma=1.0)},
    )  # fmt: skip
    state = state_of(game, lr=0.1)
    train(state, Engine(batch=64), Twos(POINTS), 120)
    assert float((game.G.b.detach() - torch.tensor([2.0, -1.0])).abs().max()) < 0.2


class Twins(Game):
    """Two generators on one trunk against one critic."""

    def __init__(self) -> None:
        super().__init__()
        self.z_dim = 4
        self.trunk, self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 2), nn.Linear(8, 2)
        self.critics = Critics({"D": Tilt(0.1)})
        self.adversarial = registry.adversarial.parts["non-saturating"].fn()

    def owns(self) -> dict[str, list[nn.Module]]:
        return {"D": [self.critics], "G": [self.trunk, self.a, self.b]}

    def turns(self) -> list[Turn]:
        return [Turn("D", "D", self.d_wants), Turn("G", "G", self.g_wants)]

    def stage(self, batch: Batch, now: Now) -> tuple[Tensor, Tensor]:
        z = normal((4,), len(batch.x), key=(now.seed, now.step, now.play, "z"), first=now.first).to(batch.x.dtype)
        return batch.x, self.generate(z)

    def d_wants(self, scene: tuple[Tensor, Tensor]) -> Loss:
        (real,), (fake,) = (self.critics(x, now=Now(), side="") for x in scene)
        return Loss({"D": self.adversarial.d(real.logits, fake.logits)})

    def g_wants(self, scene: tuple[Tensor, Tensor]) -> Loss:
        (fake,) = self.critics(scene[1], now=Now(), side="")
        return Loss({"G": self.adversarial.g(fake.logits, None)})

    def generate(self, z: Tensor, *given: Tensor) -> Tensor:
        h = self.trunk(z).relu()
        return torch.cat([self.a(h[::2]), self.b(h[1::2])])

    def made_of(self) -> dict[str, nn.Module]:
        return {"trunk": self.trunk, "a": self.a, "b": self.b}


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_a_game_of_your_own_plays(dynamics: str) -> None:
    torch.manual_seed(0)
    game = Twins()
    state = state_of(game, dynamics)
    state.averages["ema"] = Average(game, half_life_images=100.0)
    before = [w.detach().clone() for w in game.parameters()]
    train(state, Engine(batch=8), Rows(POINTS), 3)
    state.check_finite()
    assert all(not torch.equal(a, b) for a, b in zip(before, game.parameters()))
    assert set(state.averages["ema"].copies) == {"trunk", "a", "b"}
    assert state.best_game().critics is game.critics
    assert largest_gap(state.averages["ema"].copies["a"].parameters(), game.a.parameters()) > 0
    assert not same(state.averages["ema"].copies["a"].parameters(), game.a.parameters())


def test_labels_may_not_hide_a_term() -> None:
    """A penalty called D would take the place of the adversarial term."""
    for change, why in [
        ("penalties.D={use: r1}", "penalties.D: 'D' and 'G' are the adversarial terms"),
        ("tricks.G={use: feature-matching}", "tricks.G: 'D' and 'G' are the adversarial terms"),
    ]:
        with pytest.raises(InputError, match=why):
            play("mlp", change)
    with pytest.raises(InputError, match=r"tricks.a: a penalty has this label too; use another"):
        play("mlp", "penalties.a={use: r1}", "tricks.a={use: instance-noise}")


def test_each_critic_needs_a_loss_and_a_loss_a_critic() -> None:
    pair = registry.adversarial.parts["hinge"].fn()
    with pytest.raises(InputError) as caught:
        Arena(SPEC, critics={"a": Tilt(), "b": Tilt()}, adversarial={"a": pair, "c": pair})
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["adversarial.b", "adversarial.c"]
    began = registry.adversarial.parts["began"].fn()
    with pytest.raises(InputError, match="one loss object with a state for several critics"):
        Arena(SPEC, critics={"a": Tilt(), "b": Tilt()}, adversarial=began)


def test_critics_of_one_s_own_need_no_time_unless_they_look_through_a_lens() -> None:
    (verdict,) = Critics({"D": Tilt(1.0)})(torch.ones(3, 2))
    assert verdict.logits.tolist() == [2.0] * 3
    noisy = Critics({"D": Tilt(1.0)}, lenses=[registry.trick.parts["instance-noise"].fn()])
    with pytest.raises(InputError, match="say now= and side="):
        noisy(torch.ones(3, 2))
