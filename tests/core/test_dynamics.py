"""Dynamics against the textbook: hand-written float64 maps, through the real state and engine."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.dynamics import Dynamics, Field
from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Game, Loss, Turn
from gantlet.core.state import State
from gantlet.core.train import Stop, train
from helpers import DYNAMICS, POINTS, Dirac, Rows, Saddle, largest_gap, play, same

H = 0.1
Point = tuple[float, float]
NUMBERS = Rows(POINTS._replace(shape=(1,)), torch.float64)


def begin(game: Game, dynamics: str, optimizer: str = "sgd", **options: float) -> tuple[State, Engine]:
    tree, faults = registry.check("optimizer", {"use": optimizer, "lr": H, **options})
    assert not faults
    player = registry.bind("optimizer", tree, total=100)
    made = registry.dynamics.find(dynamics).fn()
    engine = Engine(batch=2)
    state = State.begin(game, {"D": player, "G": player}, made)
    engine.settle(state)
    return state, engine


def field_of(game: Saddle) -> Callable[[float, float], Point]:
    """(slope of G's loss in x, slope of D's loss in y) at (x, y)."""
    if isinstance(game, Dirac):
        return lambda x, y: (-y / (1 + math.exp(x * y)), x / (1 + math.exp(-x * y)))
    return lambda x, y: (y, -x)


def by_hand(dynamics: str, v: Callable[[float, float], Point], x: float, y: float) -> Point:
    """One step of plain descent."""
    if dynamics == "alternating":
        y -= H * v(x, y)[1]
        return x - H * v(x, y)[0], y
    a, b = v(x, y)
    if dynamics == "extragradient":
        a, b = v(x - H * a, y - H * b)
    return x - H * a, y - H * b


@pytest.mark.parametrize("dynamics", ["alternating", "simultaneous", "extragradient"])
@pytest.mark.parametrize("kind", [Saddle, Dirac])
def test_a_dynamics_is_its_textbook_map(dynamics: str, kind: type[Saddle]) -> None:
    """Twenty steps on min max x y and on the Dirac GAN."""
    game = kind(0.8, -0.3)
    state, engine = begin(game, dynamics)
    point = (0.8, -0.3)
    for step in range(1, 21):
        train(state, engine, NUMBERS, step)
        point = by_hand(dynamics, field_of(game), *point)
        assert game.point == pytest.approx(point, abs=1e-14)
    assert point != (0.8, -0.3)


@pytest.mark.parametrize(
    ("dynamics", "radius"), [("simultaneous", 1.00125), ("alternating", 1.0), ("extragradient", 0.99875)]
)
def test_the_spectral_radius_at_the_equilibrium(dynamics: str, radius: float) -> None:
    """Simultaneous descent leaves the Dirac GAN's equilibrium, alternating circles it, extragradient finds it."""

    def step(point: Tensor) -> Tensor:
        game = Dirac(*point.tolist())
        state, engine = begin(game, dynamics)
        train(state, engine, NUMBERS, 1)
        return torch.tensor(game.point, dtype=torch.float64)

    e = 1e-4 * torch.eye(2, dtype=torch.float64)
    jacobian = torch.stack([(step(d) - step(-d)) / 2e-4 for d in e], dim=1)
    assert float(torch.linalg.eigvals(jacobian).abs().max()) == pytest.approx(radius, abs=5e-6)


def test_extragradient_with_adam_is_extra_adam() -> None:
    """Gidel et al. 2019, algorithm 4: moments are updated at both points, weights move from where they were."""
    beta1, beta2, eps = 0.5, 0.9, 1e-8
    game = Saddle(0.8, -0.3)
    state, engine = begin(game, "extragradient", "adam", beta1=beta1, beta2=beta2, eps=eps)
    w, m, v, t = [0.8, -0.3], [0.0, 0.0], [0.0, 0.0], 0
    for step in range(1, 8):
        train(state, engine, NUMBERS, step)
        ahead = w
        for _ in range(2):
            g, t = (ahead[1], -ahead[0]), t + 1
            m = [beta1 * a + (1 - beta1) * b for a, b in zip(m, g)]
            v = [beta2 * a + (1 - beta2) * b * b for a, b in zip(v, g)]
            move = [a / (1 - beta1**t) / (math.sqrt(b / (1 - beta2**t)) + eps) for a, b in zip(m, v)]
            ahead = [a - H * b for a, b in zip(w, move)]
        w = ahead
        assert game.point == pytest.approx(w, abs=1e-12)
    assert all(int(s["step"]) == 14 for p in state.players.values() for s in p.opt.state.values())


@pytest.mark.parametrize("name", [d for d in DYNAMICS if issubclass(registry.dynamics.parts[d].fn, Field)])
def test_a_field_refuses_repeated_turns_with_the_way_out(name: str) -> None:
    with pytest.raises(InputError) as caught:
        play("r1gan", f"dynamics={name}", "d_steps=5")
    (fault,) = caught.value.faults
    assert "'D' plays 5 times" in fault
    assert "dynamics=alternating" in fault
    assert "players.D.lr 5-fold" in fault
    assert repr(name) in fault


@pytest.mark.parametrize("name", DYNAMICS)
def test_a_dynamics_keeps_what_it_carries_in_buffers(name: str) -> None:
    made = registry.dynamics.find(name).fn()
    assert isinstance(made, Dynamics)
    assert isinstance(made, nn.Module)
    assert not list(made.parameters())


@pytest.mark.parametrize("name", DYNAMICS)
def test_repeated_turns_are_that_many_moves(name: str) -> None:
    """Round dynamics move D three times where it plays three times; nobody else moves more than once."""
    if issubclass(registry.dynamics.parts[name].fn, Field):
        return
    made = play("r1gan", f"dynamics={name}", "d_steps=3").run(2)
    counts = {p: {int(s["step"]) for s in player.opt.state.values()} for p, player in made.state.players.items()}
    assert counts == {"D": {6}, "G": {2}}


def test_a_turn_that_is_not_due_is_left_out() -> None:
    for dynamics in DYNAMICS:
        made = play("r1gan", f"dynamics={dynamics}")
        made.state.turns[1] = made.state.turns[1]._replace(when=lambda now: now.step % 2 == 1)
        g = made.weights("G")
        assert set(made.step()) == {"D"}
        assert same(g, made.weights("G"))
        assert set(made.step()) == {"D", "G"}
        assert not same(g, made.weights("G"))


class Split(Game):
    """Two generators on one trunk and one critic: three turns, two of which go back through the same scene."""

    def __init__(self) -> None:
        super().__init__()
        self.z_dim = 3
        self.trunk, self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 2)
        self.D = nn.Linear(2, 1, bias=False)
        self.double()

    def owns(self) -> dict[str, list[nn.Module]]:
        return {"D": [self.D], "A": [self.trunk, self.a], "B": [self.b]}

    def turns(self) -> list[Turn]:
        say = lambda x: self.D(x.tanh()).mean()  # noqa: E731
        return [
            Turn("D", "D", lambda s: Loss({"D": say(s[0]) + say(s[1]) - 2 * say(s[2])})),
            Turn("A", "A", lambda s: Loss({"A": -say(s[0])})),
            Turn("B", "B", lambda s: Loss({"B": -say(s[1])})),
            Turn("more", "B", lambda s: Loss({"more": s[1].square().mean()})),
        ]

    def stage(self, batch: Batch, now: object) -> tuple[Tensor, ...]:
        h = self.trunk(batch.x.repeat(1, 3)).tanh()
        return self.a(h), self.b(h), batch.x.repeat(1, 2)

    def generate(self, z: Tensor, *given: Tensor) -> Tensor:
        return self.a(self.trunk(z).tanh())

    def made_of(self) -> dict[str, nn.Module]:
        return {"trunk": self.trunk, "a": self.a, "b": self.b}


OF_SEVERAL = [d for d in DYNAMICS if d != "unrolled"]  # which knows one opponent


@pytest.mark.parametrize("dynamics", OF_SEVERAL)
@pytest.mark.parametrize("sharing", [True, False])
def test_players_that_share_a_trunk_play(dynamics: str, sharing: bool) -> None:
    """A scene may be walked back through by several turns; the weights are those of scenes redone."""
    ends = []
    for shared in (sharing, False):
        torch.manual_seed(0)
        game = Split()
        engine = Engine(batch=4)
        tree, _ = registry.check("optimizer", {"use": "sgd", "lr": 0.1})
        player = registry.bind("optimizer", tree, total=9)
        state = State.begin(game, dict.fromkeys("DAB", player), registry.dynamics.find(dynamics).fn())
        engine.sharing = shared
        before = [w.detach().clone() for w in game.parameters()]
        train(state, engine, NUMBERS, 3)
        ends.append([w.detach().clone() for w in game.parameters()])
        assert all(not torch.equal(a, b) for a, b in zip(before, ends[-1]))
    assert largest_gap(*ends) <= (1e-12 if state.dynamics.second_order else 0.0)  # sums in another order


def test_turns_of_one_player_add_up_in_a_field() -> None:
    """B's two turns move it once, along the sum of both gradients."""
    ends = []
    for together in (False, True):
        torch.manual_seed(0)
        game = Split()
        tree, _ = registry.check("optimizer", {"use": "sgd", "lr": 0.1})
        state = State.begin(
            game,
            dict.fromkeys("DAB", registry.bind("optimizer", tree, total=9)),
            registry.dynamics.find("simultaneous").fn(),
        )
        if together:
            *others, b, more = state.turns
            both = b._replace(loss=lambda s, b=b, more=more: Loss({**b.loss(s).terms, **more.loss(s).terms}))
            state.turns = [*others, both]
        train(state, Engine(batch=4), NUMBERS, 2)
        ends.append([w.detach().clone() for w in game.parameters()])
    assert largest_gap(*ends) < 1e-14


# ---- the trainer --------------------------------------------------------------------------------------------------


def test_the_trainer_counts_and_calls_watchers_when_they_are_due() -> None:
    made = play("mlp")
    seen: list[int] = []
    made.run(7, (lambda now: now.step % 3 == 0, lambda s, r: seen.append(s.now.step)))
    assert seen == [3, 6]
    assert made.state.now == made.state.now._replace(step=7, images=7 * 8, play=0, rank=0, first=0)
    made.run(7)
    assert made.state.now.step == 7


def test_a_watcher_may_stop_the_training_after_its_step() -> None:
    made = play("mlp")

    def enough(state: State, reports: object) -> None:
        raise Stop("enough")

    with pytest.raises(Stop, match="enough"):
        made.run(9, (lambda now: now.step == 4, enough))
    assert made.state.now.step == 4


def test_splitting_a_training_changes_nothing() -> None:
    whole, parts = play("dcgan").run(5), play("dcgan")
    for step in (1, 3, 3, 5):
        parts.run(step)
    assert same(whole.weights(), parts.weights())


def test_the_seed_matters() -> None:
    ends = [play("mlp").run(0) for _ in range(2)]
    ends[1].state.now = ends[1].state.now._replace(seed=1)
    a, b = (made.run(2).weights() for made in ends)
    assert not same(a, b)
