"""The state is everything that changes: saved and loaded, play goes on to the bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Game, Loss, Turn
from gantlet.core.state import Average, State, weights_of, with_own_copies
from gantlet.core.train import train
from gantlet.core.when import Now
from helpers import (
    DISTINCT,
    DYNAMICS,
    GAMES,
    IMAGES,
    LAWS,
    OPTIMIZERS,
    POINTS,
    Play,
    Rows,
    accepts,
    covering,
    play,
    same,
    tensors,
)


def through_a_file(tree: Any) -> Any:
    """What a file gives back: contiguous copies, and text for keys."""
    if isinstance(tree, Tensor):
        return tree.detach().contiguous().clone(memory_format=torch.contiguous_format)
    if isinstance(tree, dict):
        return {str(k): through_a_file(v) for k, v in tree.items()}
    return tree


def differences(a: Play, b: Play) -> list[str]:
    x, y = tensors(a.state.state_dict()), tensors(b.state.state_dict())
    assert x.keys() == y.keys()
    assert a.state.now == b.state.now
    return [k for k in x if not torch.equal(x[k], y[k])]


def resumes(steps: int, name: str, *changes: str, **options: Any) -> None:
    whole = play(name, *changes, **options).run(2 * steps)
    first = play(name, *changes, **options).run(steps)
    saved = through_a_file(first.state.state_dict())
    kept = {k: t.clone() for k, t in tensors(saved).items()}
    again = play(name, *changes, seed=99, **options)  # other weights: all must come from the file
    again.state.load_state_dict(saved)
    assert differences(first, again) == []
    again.run(2 * steps)
    assert differences(whole, again) == []
    assert all(torch.equal(kept[k], t) for k, t in tensors(saved).items())  # what was loaded is not played on
    for player in again.state.players.values():
        for w, moments in player.opt.state.items():
            assert all(m.stride() == w.stride() for m in moments.values() if m.shape == w.shape and m.dim())


RESUMED = covering(LAWS, DYNAMICS, OPTIMIZERS, ["contiguous", "channels-last"], accepts=lambda row: accepts(*row[:2]))


@pytest.mark.parametrize(("name", "dynamics", "optimizer", "layout"), RESUMED)
def test_resume(name: str, dynamics: str, optimizer: str, layout: str) -> None:
    """Law 5: weights, buffers, averages and moments are bit-identical with and without a save and a load between."""
    players = [f"players.{p}={{use: {optimizer}, lr: 1e-3}}" for p in "DG"]
    data = Rows(IMAGES._replace(shape=(2, 12, 10)))
    resumes(2, name, f"dynamics={dynamics}", *players, data=data, channels_last=layout == "channels-last")


@pytest.mark.parametrize("name", [n for n in DISTINCT if n not in LAWS])
def test_every_recipe_resumes(name: str) -> None:
    resumes(1, name)


@pytest.mark.parametrize(("name", "precision"), [("dcgan", "float32"), ("sngan", "float32"), ("r1gan", "bf16")])
def test_ten_steps_are_five_and_five(name: str, precision: str) -> None:
    resumes(5, name, "penalties.r1.every=3", precision=precision)


def test_resume_with_momentum_schedules_and_a_loss_scale() -> None:
    options = [
        "players.D={use: sgd, momentum: 0.9, lr: {use: cosine, start: 1e-2}}",
        "players.G.amsgrad=true",
        "steps=10",
    ]
    resumes(5, "r1gan", *options, "penalties.r1.gamma={use: linear, start: 2}")
    made = play("r1gan")
    for player in made.state.players.values():
        player.use_scaler()
    made.state.players["G"].scale.fill_(4.0)
    again = play("r1gan")
    for player in again.state.players.values():
        player.use_scaler()
    again.state.load_state_dict(through_a_file(made.state.state_dict()))
    assert float(again.state.players["G"].scale) == 4.0


def test_a_saved_state_may_be_loaded_twice() -> None:
    """Loading takes copies: a snapshot in memory is not played on (optimisers count in place)."""
    made = play("mlp").run(2)
    saved = through_a_file(made.state.state_dict())
    ends = []
    for _ in range(2):
        made.state.load_state_dict(saved)
        made.run(5)
        ends.append([t.clone() for t in tensors(made.state.state_dict()).values()])
    assert same(*ends)


def test_only_the_state_changes() -> None:
    """A state that is loaded forgets nothing and invents nothing: its dictionary is the one it was given."""
    made = play("wgan").run(3)
    state = made.state.state_dict()
    assert set(state) == {"game", "players", "dynamics", "averages", "watchers", "now"}
    assert state["now"] == {"step": 3, "images": 3 * 5 * 8, "seed": 0, "averaged": 3 * 5 * 8}


class Counter:
    """A watcher that carries a number."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, state: State, reports: Any) -> None:
        self.seen += 1

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]


def test_watchers_that_carry_something_are_saved() -> None:
    made, again = play("mlp"), play("mlp")
    made.state.watchers["count"] = Counter()
    made.run(3, (lambda now: True, made.state.watchers["count"]))
    again.state.watchers["count"] = Counter()
    again.state.load_state_dict(through_a_file(made.state.state_dict()))
    assert again.state.watchers["count"].seen == 3


# ---- players and games that do not fit ----------------------------------------------------------------------------


def test_players_and_game_must_fit() -> None:
    with pytest.raises(InputError) as caught:
        play("mlp", "players.D=null", "players.E=adam")
    assert caught.value.faults == [
        "players.E: the game has no player 'E'; it has: D, G",
        "players.D: this player of the game needs an optimiser",
    ]


def test_turns_must_name_players_and_have_names_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    game = play("mlp").state.game
    turns = game.turns()
    monkeypatch.setattr(type(game), "turns", lambda self: [turns[0], turns[0], turns[1]._replace(player="H")])
    with pytest.raises(InputError) as caught:
        play("mlp")
    assert [f.split(":")[0] for f in caught.value.faults] == ["turn 'G'", "turn 'D'"]


# ---- weights that are shared --------------------------------------------------------------------------------------


class Shared(Game):
    """Both players move one embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.z_dim = 2
        self.body, self.G, self.D = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1)

    def owns(self) -> dict[str, list[nn.Module]]:
        return {"D": [self.D, self.body], "G": [self.body, self.G, self.body]}

    def turns(self) -> list[Turn]:
        return [
            Turn("D", "D", lambda s: Loss({"D": (self.D(self.body(s[0])) - self.D(self.body(s[1]))).square().mean()})),
            Turn("G", "G", lambda s: Loss({"G": -self.D(self.body(s[1])).mean()})),
        ]

    def stage(self, batch: Batch, now: Now) -> tuple[Tensor, Tensor]:
        return batch.x, self.generate(batch.x.flip(0))

    def generate(self, z: Tensor, *given: Tensor) -> Tensor:
        return self.G(self.body(z))

    def made_of(self) -> dict[str, nn.Module]:
        return {"body": self.body, "G": self.G}


def shared(optimizer: str) -> State:
    tree, _ = registry.check("optimizer", {"use": optimizer, "lr": 0.01})
    player = registry.bind("optimizer", tree, total=9)
    dynamics = registry.dynamics.find("alternating").fn()
    return State.begin(Shared(), {"D": player, "G": player}, dynamics, averages={"ema": Average})


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_modules_may_be_shared_between_players(optimizer: str) -> None:
    """Each player has moments of its own for what both move, and resumes."""
    data = Rows(POINTS)
    torch.manual_seed(0)
    whole = shared(optimizer)
    assert [len(p.weights) for p in whole.players.values()] == [4, 4]
    torch.manual_seed(0)
    first, again = shared(optimizer), shared(optimizer)
    train(whole, Engine(batch=4), data, 6)
    train(first, Engine(batch=4), data, 3)
    again.load_state_dict(through_a_file(first.state_dict()))
    train(again, Engine(batch=4), data, 6)
    a, b = tensors(whole.state_dict()), tensors(again.state_dict())
    assert [k for k in a if not torch.equal(a[k], b[k])] == []
    assert len(a) == len(b)


def test_each_trainable_weight_once() -> None:
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    assert [id(w) for w in weights_of([layer, nn.Sequential(layer)])] == [id(layer.weight)]


# ---- averages -----------------------------------------------------------------------------------------------------


def averaged(**options: Any) -> tuple[Game, Average]:
    game = play("mlp").state.game
    return game, Average(game, **options)


def test_the_half_life_is_one() -> None:
    """After half_life_images images, half of the way is done, in however many updates."""
    for images in (1, 10, 25, 100):
        game, mean = averaged(half_life_images=100.0, ramp_up=None)
        start = [w.clone() for w in mean.copies["G"].parameters()]
        with torch.no_grad():
            for w in game.G.parameters():
                w.add_(1.0)
        for _ in range(100 // images):
            mean.update(Now(images=10**9), images)
        for was, now in zip(start, mean.copies["G"].parameters()):
            assert torch.allclose(now, was + 0.5, atol=1e-5)


def test_early_on_the_half_life_is_a_share_of_what_was_seen() -> None:
    game, mean = averaged(half_life_images=1000.0, ramp_up=0.1)
    was = [w.clone() for w in mean.copies["G"].parameters()]
    with torch.no_grad():
        for w in game.G.parameters():
            w.add_(1.0)
    mean.update(Now(images=80), 8)  # 8 images, half-life 0.1 x 80: half of the way
    for before, after in zip(was, mean.copies["G"].parameters()):
        assert torch.allclose(after, before + 0.5, atol=1e-6)
    mean.update(Now(images=10**6), 1000)  # capped at half_life_images
    for before, after in zip(was, mean.copies["G"].parameters()):
        assert torch.allclose(after, before + 0.75, atol=1e-6)


def test_no_half_life_is_no_average() -> None:
    made = play("dcgan", "average.half_life_images=0").run(2)
    mean = made.state.averages["ema"].copies["G"].state_dict()
    assert same(mean.values(), made.state.game.G.state_dict().values())


def test_buffers_are_copied_and_the_copy_is_in_eval_mode() -> None:
    made = play("dcgan").run(3)
    mean = made.state.averages["ema"]
    assert same(mean.copies["G"].buffers(), made.state.game.G.buffers())
    assert not any(m.training for m in mean.copies["G"].modules())
    assert not same(mean.copies["G"].parameters(), made.state.game.G.parameters())
    assert made.state.best_game() is mean.game
    assert play("dcgan", "average=null").state.best_game() is not None


@pytest.mark.parametrize("name", GAMES)
def test_an_average_copies_what_generates_and_nothing_else(name: str) -> None:
    made = play(name)
    twin = with_own_copies(made.state.game)
    assert twin is not made.state.game
    if set(made.state.game.made_of()) == {"G"}:
        assert twin.arena is made.state.game.arena
    mine = {id(t) for t in [*twin.G.parameters(), *twin.G.buffers()]}
    theirs = {id(t) for t in [*made.state.game.G.parameters(), *made.state.game.G.buffers()]}
    assert not mine & theirs
    assert same(twin.G.state_dict().values(), made.state.game.G.state_dict().values())
    z = made.state.game.latent(3, seed=0)
    assert torch.equal(twin.eval().generate(z), made.state.game.eval().generate(z))
