"""Consensus, symplectic and unrolled play on a real game: they feel the other player, by the derivatives they claim."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from helpers import POINTS, Play, Rows, play

SECOND = {
    "consensus": ["dynamics=consensus"],
    "symplectic": ["dynamics=symplectic", "dynamics.align=false"],
    "unrolled": ["dynamics=unrolled", "dynamics.k=3", "dynamics.lr=0.5"],
}
PLAIN = ["dynamics=simultaneous"]
# z and hidden layers so narrow that the whole Jacobian can be had by differences
NARROW = ["G.z=2", "G.hidden=[3]", "D.hidden=[3]", "penalties.r1.gamma=0.5", "batch=4"]


def begin(*changes: str) -> Play:
    """Points, float64, plain descent of rate 1: a move is minus what the dynamics makes of the gradients."""
    descent = [change for p in "GD" for change in (f"players.{p}=sgd", f"players.{p}.lr=1")]
    return play("mlp", *NARROW, *descent, "average=null", *changes, data=Rows(POINTS, torch.float64), seed=3)


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.reshape(-1) for t in tensors])


def put(p: Play, point: Tensor) -> None:
    """Weights of all players from one vector."""
    with torch.no_grad():
        rest = point
        for player in p.state.players.values():
            for weight in player.weights:
                weight.copy_(rest[: weight.numel()].view_as(weight))
                rest = rest[weight.numel() :]


def pull(*changes: str, at: Tensor | None = None, cut: bool = False) -> Tensor:
    """Minus the move of all players in one step: xi and what the dynamics adds to it.

    `cut`: D's loss detaches the fake, the fault this file is about.
    """
    p = begin(*changes)
    if at is not None:
        put(p, at)
    if cut:
        p.state.turns = [
            t._replace(loss=lambda scene, loss=t.loss: loss(scene._replace(fake=scene.fake.detach())))
            if t.player == "D"
            else t
            for t in p.state.turns
        ]
    before = flat(p.weights())
    p.step()
    return before - flat(p.weights())


@pytest.fixture(scope="module")
def jacobian() -> tuple[Tensor, Tensor]:
    """(xi, d xi_i / d w_j) by central differences over every weight of both players."""
    here = flat(begin().weights())
    steps = 1e-5 * torch.eye(len(here), dtype=torch.float64)
    columns = [(pull(*PLAIN, at=here + s) - pull(*PLAIN, at=here - s)) / 2e-5 for s in steps]
    return pull(*PLAIN), torch.stack(columns, 1)


def test_consensus_descends_half_the_squared_gradient(jacobian: tuple[Tensor, Tensor]) -> None:
    """d (1/2 |xi|^2) / dw = J^T xi, in the weights of both players."""
    xi, J = jacobian
    torch.testing.assert_close(pull(*SECOND["consensus"]) - xi, J.T @ xi, atol=1e-6, rtol=1e-6)


def test_symplectic_adds_the_antisymmetric_part(jacobian: tuple[Tensor, Tensor]) -> None:
    xi, J = jacobian
    torch.testing.assert_close(pull(*SECOND["symplectic"]) - xi, (J - J.T).T @ xi / 2, atol=1e-6, rtol=1e-6)


def test_the_players_pull_on_each_other(jacobian: tuple[Tensor, Tensor]) -> None:
    """The mixed blocks of J are far from zero here, so that the tests above see a loss that hides one."""
    _, J = jacobian
    size = sum(w.numel() for w in begin().weights("D"))
    assert float(J[:size, size:].norm()) > 0.01 and float(J[size:, :size].norm()) > 0.01


def test_unrolled_differentiates_through_the_steps_of_its_opponent() -> None:
    """G's gradient is that of theta -> L_G(theta, D after k steps from here), by differences."""
    p = begin(*SECOND["unrolled"])
    game, state = p.state.game, p.state
    G, D = state.players["G"].weights, state.players["D"].weights
    batch, now = p.engine.draw(state, p.data)
    turns = {t.player: t.loss for t in state.turns}
    start, size = flat(p.weights()), sum(w.numel() for w in D)

    def ahead(point: Tensor) -> Tensor:
        put(p, point)
        for _ in range(3):
            loss = turns["D"](game.stage(batch, now)).total
            grads = torch.autograd.grad(loss, D)
            with torch.no_grad():
                for weight, grad in zip(D, grads):
                    weight -= 0.5 * grad
        return turns["G"](game.stage(batch, now)).total.detach()

    steps = 1e-5 * torch.eye(len(start), dtype=torch.float64)[size:]
    wanted = torch.stack([(ahead(start + s) - ahead(start - s)) / 2e-5 for s in steps])
    assert list(state.players) == ["D", "G"] and len(wanted) == sum(w.numel() for w in G)
    torch.testing.assert_close(pull(*SECOND["unrolled"])[size:], wanted, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", SECOND)
def test_a_detached_fake_would_be_noticed(name: str) -> None:
    """G moves otherwise when D's loss hides that the fake depends on G: law 1 of the core."""
    size = sum(w.numel() for w in begin().weights("D"))
    felt, cut = pull(*SECOND[name])[size:], pull(*SECOND[name], cut=True)[size:]
    assert float((felt - cut).norm()) > 1e-3 * float(felt.norm())


def test_first_order_play_does_not_care() -> None:
    torch.testing.assert_close(pull(*PLAIN), pull(*PLAIN, cut=True), atol=1e-12, rtol=0)
