"""Probes: what they measure in networks whose answers are known, and that they leave no trace in any game."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantlet.core.game import Spec
from gantlet.core.noise import normal, uniform
from gantlet.core.state import Average, State
from gantlet.data import open_source
from gantlet.doctor.finding import About
from gantlet.doctor.probes import Rows, averages, outcomes, probe, spectra
from gantlet.doctor.rows import rows_for
from gantlet.games.classic import Classic
from helpers import DISTINCT, LAWS, POINTS, Saddle, play, same, state_of, tensors
from helpers import Rows as Feed

CPU = torch.device("cpu")
ABOUT = About(batch=64)
WITHOUT_CRITICS = {"autoencoder", "vae", "rbm"}  # one player each
OF_PAIRS = {"bigan", "ali", "aae"}  # critics, but not of samples


def gauss(n: int, d: int = 2, *, key: str) -> Tensor:
    return normal((d,), n, key=(key,))


class Point(nn.Module):
    """z -> scale z + shift, or always the same point."""

    z_dim = 2

    def __init__(self, scale: float = 1.0, shift: float = 0.0, *inside: nn.Module) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.tensor(scale)), nn.Parameter(torch.tensor(shift))
        self.inside = nn.Sequential(*inside)

    def forward(self, z: Tensor) -> Tensor:
        made: Tensor = self.inside(self.scale * z + self.shift)
        return made


class Says(nn.Module):
    """A critic that is a function, with one weight beside it."""

    def __init__(self, fn: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.fn, self.bias = fn, nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(x) + self.bias


def duel(G: nn.Module | None = None, D: nn.Module | None = None, **options: Any) -> State:
    return state_of(Classic(POINTS, G=G or Point(), D=D or Says(lambda x: x.sum(1)), **options))


def probed(
    state: State, train: Tensor | None = None, held: Tensor | None = None, *, step: int = 300
) -> dict[str, float]:
    state.now = state.now._replace(step=step)
    found = probe(state, ABOUT, Rows(gauss(256, key="train") if train is None else train, held))
    assert not [name for name in found if "failed" in name]
    return {name.removeprefix("probe."): value for name, value in found.items()}


# ---- closed forms -------------------------------------------------------------------------------------------------


def test_a_linear_critic_is_as_steep_at_fakes_as_at_reals() -> None:
    found = probed(duel(D=Says(lambda x: 3 * x[:, 0] + 4 * x[:, 1])))
    assert found["slope_ratio"] == pytest.approx(1.0)
    assert found["slope_real"] == pytest.approx(5.0)


def test_a_quadratic_critic_is_steeper_where_samples_are_larger() -> None:
    """D(x) = |x|^2 / 2 has the slope x."""
    train = gauss(64, key="train")
    found = probed(duel(Point(3.0), Says(lambda x: x.square().sum(1) / 2)), train)
    assert found["slope_real"] == pytest.approx(train.square().sum(1).mean().sqrt().item(), rel=1e-5)
    assert 4 < found["slope_ratio"] < 18  # 9 but for the draw


@pytest.mark.parametrize("norm", [True, False])
def test_a_critic_with_batch_norm_leaks_and_one_without_does_not(norm: bool) -> None:
    layers = [nn.Linear(2, 8), nn.BatchNorm1d(8) if norm else nn.Identity(), nn.Tanh(), nn.Dropout(0.5)]
    torch.manual_seed(0)
    leak = probed(duel(Point(0.1, 2.0), nn.Sequential(*layers, nn.Linear(8, 1), nn.Flatten(0))))["leak"]
    assert leak > 0.1 if norm else leak == 0  # dropout draws alike, so it is no leak


def test_a_generator_that_ignores_its_latents_does_not_respond() -> None:
    found = probed(duel(Point(0.0, 0.5)))
    assert found["latent_response"] == found["latent_std"] == found["live_diversity"] == 0
    healthy = probed(duel(Point(1.0)))
    for name in ("latent_response", "latent_std", "live_diversity"):
        assert healthy[name] == pytest.approx(1.0, abs=0.3)


def test_labels_are_fixed_while_latents_are_changed() -> None:
    """A generator whose samples are their class alone has variety and does not respond."""

    class OfClass(nn.Module):
        z_dim, scale = 2, 0.0

        def __init__(self) -> None:
            super().__init__()
            self.places = nn.Parameter(torch.tensor([[-3.0, 0.0], [0.0, 3.0], [3.0, 0.0]]))

        def forward(self, z: Tensor, y: Tensor) -> Tensor:
            return self.places[y] + self.scale * z

    class Judge(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x.sum(1) * y

    G = OfClass()
    game = Classic(Spec((2,), classes=3), G=G, D=nn.ModuleList([nn.Linear(1, 1), Judge()])[1], conditional=True)
    game.arena.critics.register_parameter("unused", nn.Parameter(torch.zeros(())))
    state, y = state_of(game), torch.arange(96) % 3
    train = G.places.detach()[y] + 0.1 * gauss(96, key="train")
    assert probe(state, ABOUT, Rows(train, train, None)) == {}  # nobody says what to ask for
    found = probe(state, ABOUT, Rows(train, train, y, y))
    assert found["probe.latent_response"] == 0
    assert found["probe.live_diversity"] > 0.9
    G.scale = 0.1  # as wide as the classes are
    assert probe(state, ABOUT, Rows(train, train, y, y))["probe.latent_response"] == pytest.approx(1, abs=0.3)


def test_an_average_is_as_far_as_its_weights_are() -> None:
    state = duel(Point(1.0, 1.0))
    assert "average_distance" not in probed(state)
    mean = Average(state.game)
    state.averages["ema"] = mean
    assert probed(state)["average_distance"] == 0
    with torch.no_grad():
        for weight in mean.copies["G"].parameters():
            weight.zero_()
    stale = probed(state)
    assert stale["average_distance"] == pytest.approx(1.0)
    assert stale["average_diversity"] == 0 < stale["live_diversity"]
    assert averages.distance(mean) == pytest.approx(1.0)


def test_an_average_that_lags_on_purpose_is_left_alone_between_its_moves() -> None:
    made = play("mlp", "dynamics=lookahead", "average=null", data=Feed(POINTS))
    made.run(9)
    rows = Rows(Feed(POINTS).take(0, 64, CPU).x)
    assert "probe.average_distance" not in probe(made.state, ABOUT, rows)
    made.run(10)
    assert made.state.dynamics.settled(made.state.now)
    assert probe(made.state, ABOUT, rows)["probe.average_distance"] == 0


@pytest.mark.parametrize("norm", [True, False])
def test_a_generator_that_is_another_one_in_evaluation_mode_shows(norm: bool) -> None:
    """Running statistics that never moved: in training z is normalised, in evaluation it is 5 z + 3."""
    layer = nn.BatchNorm1d(2, momentum=0.0) if norm else nn.Dropout(0.5)
    gap = probed(duel(Point(5.0, 3.0, layer)))["eval_gap"]
    assert gap > 1 if norm else gap == 0


class Bent(nn.Module):
    """8 units, then 4, by rectifiers of one kind."""

    def __init__(self, bend: Callable[[Tensor], Tensor], dead: int) -> None:
        super().__init__()
        self.one, self.two, self.three, self.bend = nn.Linear(2, 8), nn.Linear(8, 4), nn.Linear(4, 1), bend
        with torch.no_grad():
            for layer in (self.one, self.two):
                layer.bias.fill_(50.0)  # alive whatever comes
            self.one.bias[:dead] = -50.0

    def forward(self, x: Tensor) -> Tensor:
        said: Tensor = self.three(self.bend(self.two(self.bend(self.one(x)))))
        return said.squeeze(1)


@pytest.mark.parametrize(
    "bend",
    [F.relu, nn.ReLU(), nn.ReLU(inplace=True), nn.LeakyReLU(0.0), lambda x: x.relu(), torch.relu, F.relu6],
    ids=["F.relu", "ReLU", "in place", "leaky 0", "method", "torch.relu", "relu6"],
)
def test_dead_units_are_counted_exactly(bend: Callable[[Tensor], Tensor]) -> None:
    found = probed(duel(D=Bent(bend, 3)))
    assert found["dead.D"] == pytest.approx(3 / 12)
    assert found["dead_worst.D"] == pytest.approx(3 / 8)
    assert probed(duel(D=Bent(bend, 0)))["dead.D"] == 0
    assert "dead.G" not in found  # it has no rectifiers


def test_units_that_leak_or_that_wake_for_fakes_are_not_dead() -> None:
    assert "dead.D" not in probed(duel(D=Bent(nn.LeakyReLU(0.2), 3)))
    D = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1), nn.Flatten(0))
    with torch.no_grad():
        D[0].weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        D[0].bias.copy_(torch.tensor([-50.0, -500.0]))  # one wakes at 100, where the fakes are
    assert probed(duel(Point(1.0, 100.0), D))["dead.D"] == 0.5


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (32, 8), (64, 200), (128, 128)])
def test_power_iteration_finds_the_spectral_norm(shape: tuple[int, int]) -> None:
    weight = 3 * normal((shape[1],), shape[0], key=("weight", *shape))
    exact = torch.linalg.svdvals(weight)[0].item()
    assert 0.95 * exact < spectra.spectral_norm(weight).item() <= exact * (1 + 1e-5)
    for rank_one in (weight[:, :1] @ weight[:1], torch.zeros(shape)):
        exact = torch.linalg.svdvals(rank_one)[0].item()
        assert spectra.spectral_norm(rank_one).item() == pytest.approx(exact, rel=1e-4)


def test_the_largest_weights_are_named() -> None:
    layers = [nn.Linear(2, 2, bias=False) for _ in range(5)]
    with torch.no_grad():
        for k, layer in enumerate(layers):
            layer.weight.copy_((k + 1) * torch.eye(2))
    found = probed(duel(Point(1.0, 0.0, *layers), nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))))
    assert {k: v for k, v in found.items() if k.startswith("sigma.")} == pytest.approx(
        {"sigma.G.2": 3.0, "sigma.G.3": 4.0, "sigma.G.4": 5.0}
    )
    assert found["sigma_top.G"] == pytest.approx(5.0)
    assert found["sigma_top.D"] > 0


def test_a_critic_that_knows_its_rows_by_heart_takes_held_out_ones_for_fakes() -> None:
    train, held = gauss(64, key="train"), gauss(64, key="held")

    def by_heart(x: Tensor) -> Tensor:
        return 2.0 * (x[:, None] == train[None]).all(2).any(1).float()

    found = probed(duel(D=Says(by_heart)), train, held)
    assert found["rv"] == found["held_auc"] == 1
    fair = probed(duel(Point(1.0, -4.0)), train, held)
    assert abs(fair["rv"]) < 0.1
    assert fair["held_auc"] == pytest.approx(0.5, abs=0.12)
    assert fair["train_fake_gap"] > 3
    alone = probed(duel(Point(1.0, -4.0)), train)
    assert "rv" not in alone
    assert alone["train_fake_gap"] == fair["train_fake_gap"]


# ---- outcomes -----------------------------------------------------------------------------------------------------


def test_copies_are_memorised_and_fresh_draws_are_not() -> None:
    train, fresh = gauss(200, 6, key="train"), gauss(256, 6, key="fresh")
    for held in (gauss(200, 6, key="held"), gauss(40, 6, key="held")):  # whatever the counts
        copies = outcomes.memorised(train + 1e-3 * gauss(200, 6, key="noise"), train, held)
        chance = outcomes.memorised(fresh, train, held)
        assert copies["memorised"] > 0.99
        assert copies["memorised_z"] > 4
        assert chance["memorised"] == pytest.approx(0.5, abs=0.15)
        assert abs(chance["memorised_z"]) < 3
    one = outcomes.memorised(train[:1].expand(256, 6), train, gauss(200, 6, key="held"))
    assert one["memorised_z"] < 2  # 256 copies of one row are one piece of evidence
    assert outcomes.memorised(fresh, train, train)["memorised"] == 0.5  # ties say nothing


def test_repeated_pixels_stand_out_as_a_lattice() -> None:
    def noise(key: str, size: int = 16) -> Tensor:
        return 2 * uniform((1, size, size), 128, key=(key,)) - 1

    smooth = F.avg_pool2d(F.pad(noise("a"), (1, 1, 1, 1), mode="circular"), 3, 1)
    other = F.avg_pool2d(F.pad(noise("b"), (1, 1, 1, 1), mode="circular"), 3, 1)
    repeated = F.interpolate(noise("c", 8), scale_factor=2, mode="nearest")
    assert outcomes.checkerboard(smooth, repeated) > 3
    assert abs(outcomes.checkerboard(smooth, other)) < 1
    odd = noise("a", 9)
    assert torch.isnan(outcomes.checkerboard(odd, odd))  # no lattice of 4 fits


def test_coverage_counts_the_places_that_are_reached() -> None:
    places = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])
    reals, fresh = (places.repeat(64, 1) + 0.1 * gauss(256, key=k) for k in ("a", "b"))
    assert outcomes.coverage(reals, fresh) > 0.9
    half = places[:2].repeat(128, 1) + 0.1 * gauss(256, key="c")
    assert outcomes.coverage(reals, half) == pytest.approx(0.5, abs=0.05)
    assert outcomes.coverage(reals, fresh + 99) == 0


def test_reach_tells_places_left_out_from_rough_samples() -> None:
    places = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])
    reals, fresh = (places.repeat(64, 1) + 0.1 * gauss(256, key=k) for k in ("a", "b"))
    rough = places.repeat(64, 1) + gauss(256, key="c")
    assert 0.5 < outcomes.reach(reals, fresh) < 2
    assert outcomes.reach(reals, rough) < 1
    left_out = places[:3].repeat(86, 1)[:256] + gauss(256, key="d")
    assert outcomes.reach(reals, left_out) > 2


def test_samples_are_not_judged_before_they_can_be_any_good() -> None:
    assert "coverage" in probed(duel(), step=200)
    assert "coverage" not in probed(duel(), step=100)


# ---- whatever rows and networks there are -------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7, 33, 65])
@pytest.mark.parametrize("change", ["batch=12", "game.tricks.packing.m=3", "game.tricks.minibatch-stddev={}"])
def test_any_number_of_rows_will_do(n: int, change: str) -> None:
    made = play("mlp", change, data=Feed(POINTS))
    rows = Feed(POINTS).take(0, n, CPU).x
    found = probe(made.state, About(batch=12), Rows(rows, rows[: n // 2]))
    assert not [name for name in found if "failed" in name]


def test_nothing_is_asked_without_rows_or_of_games_without_samples() -> None:
    made, rows = play("mlp", data=Feed(POINTS)), Feed(POINTS).take(0, 64, CPU).x
    assert probe(made.state, ABOUT, None) == probe(made.state, ABOUT, Rows(rows[:0])) == {}
    assert probe(state_of(Saddle()), ABOUT, Rows(rows)) == {}


def test_a_network_that_cannot_stand_a_probe_does_not_end_the_training() -> None:
    def of_reals(x: Tensor) -> Tensor:
        if x.requires_grad and not torch.is_grad_enabled():
            raise RuntimeError
        if len(x) == 32:
            raise RuntimeError("32 rows are too few")
        return x.sum(1)

    state = duel(D=Says(of_reals))
    found = probe(state, ABOUT, Rows(gauss(32, key="train")))
    assert found["probe.failed.held_out"] == 1
    assert "probe.latent_response" in found


# ---- no trace -----------------------------------------------------------------------------------------------------


def rows_of(data: Feed, n: int = 16) -> Rows:
    train, held = data.take(0, n, CPU), data.take(1000, n, CPU)
    return Rows(train.x, held.x, train.y, held.y)


def flags(state: State) -> list[bool]:
    weights = [w.requires_grad or w.grad is not None for w in state.game.parameters()]
    games = [state.game, *(mean.game for mean in state.averages.values())]
    return weights + [m.training for game in games for m in game.modules()]


@pytest.mark.parametrize("name", DISTINCT)
def test_every_recipe_is_probed_and_stays_as_it_was(name: str) -> None:
    made = play(name)
    made.step()
    made.state.now = made.state.now._replace(step=300)
    before, modes = {k: t.clone() for k, t in tensors(made.state.state_dict()).items()}, flags(made.state)
    dice = torch.get_rng_state()
    found = probe(made.state, ABOUT, rows_of(made.data))
    after = tensors(made.state.state_dict())
    assert before.keys() == after.keys()
    assert [k for k in before if not torch.equal(before[k], after[k])] == []
    assert flags(made.state) == modes
    assert torch.equal(torch.get_rng_state(), dice)
    assert not [k for k in found if "failed" in k]
    assert bool(found) == (name not in WITHOUT_CRITICS)
    assert ("probe.rv" in found) == (name not in WITHOUT_CRITICS | OF_PAIRS)


@pytest.mark.parametrize("name", ["mlp", "sngan", "semi"])
def test_the_same_rows_get_the_same_answers(name: str) -> None:
    """Whatever was asked before, and wherever the random streams are: a run that is resumed writes down the same."""
    made = play(name)
    made.step()
    found = probe(made.state, ABOUT, rows_of(made.data))
    torch.manual_seed(99)
    assert probe(made.state, ABOUT, rows_of(made.data)) == found


@pytest.mark.parametrize(
    "name", [name for name in LAWS if name != "biggan"]
)  # its kind of state is acgan's and sngan's
def test_play_goes_on_as_if_nobody_had_looked(name: str) -> None:
    """Buffers that no state keeps, streams of noise, scenes that are shared: the next steps would show them."""
    alone, looked_at = play(name), play(name)
    for made in (alone, looked_at):
        made.step()
    probe(looked_at.state, ABOUT, rows_of(looked_at.data))
    for _ in range(3):
        alone.step()
        looked_at.step()
    mine, theirs = (tensors(made.state.state_dict()) for made in (alone, looked_at))
    assert same(mine.values(), theirs.values())


# ---- rows ---------------------------------------------------------------------------------------------------------


def test_rows_are_spread_over_both_splits_and_are_the_same_every_time() -> None:
    dataset = open_source("digits")
    rows, again = (rows_for(dataset, CPU, 50) for _ in range(2))
    assert rows.held is not None
    assert same([rows.train, rows.held], [again.train, again.held] if again.held is not None else [])
    assert rows.train.shape == (50, *dataset.spec.shape)
    assert len(torch.unique(rows.train.flatten(1), dim=0)) == 50
    everything = dataset.rows(torch.arange(len(dataset))).x.flatten(1)
    where = (rows.train.flatten(1)[:, None] == everything).all(2).float().argmax(1)
    gaps = where.sort().values.diff()
    assert int(gaps.max()) <= len(dataset) // 50 + 1
    assert not torch.equal(where, where.sort().values)  # the first few are as good as any
    assert not (rows.held.flatten(1)[:, None] == everything).all(2).any()  # never trained on


def test_labels_go_with_their_rows_and_layout_with_the_engine_s() -> None:
    dataset = open_source("digits", labels=True)
    rows = rows_for(dataset, CPU, 40, channels_last=True)
    labels, everything = dataset.labels_array(), dataset.rows(torch.arange(len(dataset))).x.flatten(1)
    assert labels is not None and rows.y is not None and rows.held_y is not None
    where = (rows.train.flatten(1)[:, None] == everything).all(2).float().argmax(1)
    assert torch.equal(rows.y, labels[where])
    assert len(rows.held_y) == len(rows.held if rows.held is not None else [])
    assert rows.train.is_contiguous(memory_format=torch.channels_last)


def test_nothing_is_held_out_where_everything_is_trained_on() -> None:
    for source in ("digits#test", "digits#all", "toy:ring#test"):
        assert rows_for(open_source(source), CPU).held is None
    toy = rows_for(open_source("toy:ring?count=100"), CPU)
    assert len(toy.train) == 100
    assert toy.held is not None
    assert not (toy.train[:, None] == toy.held).all(2).any()


def test_there_are_fewer_rows_of_large_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_source("digits")
    for numbers, rows in ((100 * 64, 100), (64, 64)):  # of 64 pixels each, and never fewer than some
        monkeypatch.setattr("gantlet.doctor.rows.NUMBERS", numbers)
        assert len(rows_for(dataset, CPU).train) == rows
