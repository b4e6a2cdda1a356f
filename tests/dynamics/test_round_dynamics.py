"""Dynamics that remember, look ahead or come back: what they carry, what they refuse, whose fault a blow-up is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gantlet
from gantlet.core import registry
from gantlet.core.engine import Engine
from gantlet.core.errors import InputError, NonFiniteError
from gantlet.core.game import Batch, Game, Loss, Turn
from gantlet.core.recipe import recipe
from gantlet.core.state import State
from gantlet.core.train import train
from gantlet.dynamics.unrolled import RULES, plain
from gantlet.runs.checkpoint import differences
from helpers import POINTS, Number, Rows, largest_gap, play, same

NUMBERS = Rows(POINTS._replace(shape=(1,)), torch.float64)
CARRIERS = ["optimistic", "from-the-past", "lookahead"]


@pytest.mark.parametrize("was", CARRIERS)
@pytest.mark.parametrize("now", [*CARRIERS, "alternating"])
def test_a_state_of_another_dynamics_is_told_apart(was: str, now: str) -> None:
    """Slow weights are not last moves, whatever their shapes: taking one for the other would wipe the weights."""
    if was == now or {was, now} == {
        "optimistic",
        "from-the-past",
    }:  # both carry last moves: one may go on with the other's
        return
    saved, fresh = (play("mlp", f"dynamics={d}").state.state_dict() for d in (was, now))
    found = differences(fresh, saved)
    assert any("dynamics" in line and "only in the saved state" in line for line in found)


def test_a_lookahead_in_a_lookahead_is_refused() -> None:
    with pytest.raises(InputError, match="pull the outer ones back; use a larger k"):
        play("mlp", "dynamics={use: lookahead, inner: {use: lookahead}}")
    play("mlp", "dynamics={use: lookahead, inner: {use: lookahead, k: 1}}").run(2)  # which is its inner dynamics


class Common(Game):
    """Two players that both move one number."""

    def __init__(self) -> None:
        super().__init__()
        self.z_dim, self.x = 1, Number(0.5)

    def owns(self) -> dict[str, list[nn.Module]]:
        return {"D": [self.x], "G": [self.x]}

    def turns(self) -> list[Turn]:
        return [Turn(p, p, lambda s, p=p: Loss({p: self.x.value.square()})) for p in "DG"]

    def stage(self, batch: Batch, now: object) -> Tensor:
        return batch.x

    def generate(self, z: Tensor, *given: Tensor) -> Tensor:
        return self.x.value

    def made_of(self) -> dict[str, nn.Module]:
        return {"x": self.x}


@pytest.mark.parametrize("name", [*CARRIERS, "unrolled"])
def test_a_weight_of_two_players_is_refused_by_what_remembers_it(name: str) -> None:
    tree, _ = registry.check("optimizer", {"use": "sgd", "lr": 0.1})
    player = registry.bind("optimizer", tree, total=9)
    with pytest.raises(InputError, match="share weights"):
        State.begin(Common(), {"D": player, "G": player}, registry.dynamics.find(name).fn())
    state = State.begin(Common(), {"D": player, "G": player}, registry.dynamics.find("alternating").fn())
    train(state, Engine(batch=2), NUMBERS, 1)
    assert float(state.game.get_parameter("x.value").detach()) == pytest.approx(0.5 * 0.8 * 0.8)


OPPONENTS = {
    "sgd": "lr: 0.1",
    "sgd with everything": "use: sgd, lr: 0.1, momentum: 0.7, weight_decay: 0.3",
    "adam": "lr: 0.01, beta1: 0.5",
    "adam with everything": "use: adam, lr: 0.01, beta1: 0.5, weight_decay: 0.5, amsgrad: true",
    "amsgrad": "lr: 0.01",
    "negative-momentum": "lr: 0.1",
    "rmsprop": "lr: 0.01",
    "clipped": "use: adam, lr: 0.05, clip_weights: 0.1",
    "of bounded rows": "use: sgd, lr: 0.1, max_norm: 0.2",
}


@pytest.mark.parametrize("name", OPPONENTS)
def test_a_step_ahead_is_the_opponent_s_own(name: str) -> None:
    """After two real moves, three steps ahead on the same batch are three moves that were not made."""
    part = OPPONENTS[name] if "use:" in OPPONENTS[name] else f"use: {name}, {OPPONENTS[name]}"
    made = play("mlp", f"players.D={{{part}}}", data=Rows(dtype=torch.float64)).run(2)
    state, engine = made.state, made.engine
    player, turn = state.players["D"], state.turns[0]
    batch, now = engine.draw(state, made.data)
    step = RULES.get(type(player.opt), plain)(player, float(player.lr))  # type: ignore[arg-type]
    values: dict[nn.Parameter, Tensor] = {w: w for w in player.weights}
    for _ in range(3):
        found = engine.gradient(state, turn, batch, now, create_graph=True, at=values)
        values = {w: values[w] if g is None else step(w, values[w], g) for w, g in zip(player.weights, found.grads)}
    for _ in range(3):
        engine.move(state, "D", engine.gradient(state, turn, batch, now))
    assert largest_gap(list(values.values()), player.weights) < 1e-9


def test_what_a_step_ahead_cannot_do_is_refused() -> None:
    with pytest.raises(InputError, match=r"players.D.clip_norm=1: .* use players.D.clip_norm=null"):
        play("mlp", "dynamics=unrolled", "players.D.clip_norm=1")
    play("mlp", "dynamics=unrolled", "players.G.clip_norm=1").run(1)


def test_a_blow_up_ahead_is_the_looking_player_s() -> None:
    """D's own loss is fine and D moves: it is G's that has no number where D would have gone."""
    made = play("mlp", "dynamics=unrolled", "dynamics.lr=1e30")
    before = made.weights("D")
    made.run(1)
    assert not same(before, made.weights("D"))
    with pytest.raises(NonFiniteError, match="player 'G'"):
        made.state.check_finite()


def test_statistics_of_a_critic_that_will_never_be_are_dropped() -> None:
    far, near = (play("dcgan", "dynamics=unrolled", f"dynamics.lr={lr}").run(1).state.game for lr in ("100", "1e-6"))
    for (name, a), b in zip(far.named_buffers(), near.buffers()):
        assert torch.equal(a, b), name


def test_unrolled_steps_ahead_are_those_its_opponent_takes_when_a_knob_was_turned() -> None:
    """G's loss, one step ahead, is its loss after D's own step, also at a tenth of D's rate."""
    for factor in (1.0, 0.1):
        made = play("mlp", "dynamics=unrolled", "dynamics.k=1", data=Rows(dtype=torch.float64))
        made.state.players["D"].factor = factor
        ahead = made.step()["G"].terms["G"]
        fresh = play("mlp", "dynamics=alternating", data=Rows(dtype=torch.float64))
        fresh.state.players["D"].factor = factor
        batch, now = fresh.engine.draw(fresh.state, fresh.data)
        d, g = fresh.state.turns
        fresh.engine.move(fresh.state, "D", fresh.engine.gradient(fresh.state, d, batch, now))
        after = fresh.engine.gradient(fresh.state, g, batch, now).report.terms["G"]
        assert float(ahead) == pytest.approx(float(after), rel=1e-5)


def test_a_lookahead_longer_than_the_training_is_refused(tmp_path: Path) -> None:
    """What is sampled and saved are the slow weights, which would never have moved."""
    wanted = recipe("mlp").override("dynamics=lookahead", "dynamics.k=9", "data=toy:ring", "doctor=0")
    with pytest.raises(InputError, match="'lookahead' comes to rest at none of 8 steps"):
        gantlet.train(wanted, steps=8, out=tmp_path / "short")
    assert not (tmp_path / "short").exists()
    assert gantlet.train(wanted, steps=9, out=tmp_path / "enough").step == 9
