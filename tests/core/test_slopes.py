"""What a player's loss is felt in: its slope in the fakes costs no pass of its own and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gantlet.core import optimizers
from gantlet.core.dynamics import Alternating
from gantlet.core.engine import Engine
from gantlet.core.state import State
from gantlet.core.train import train
from gantlet.games.classic import Classic
from helpers import POINTS, Rows


class Flat(nn.Module):
    """Critic <w, x> of points."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([3.0, 4.0]))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w


class Shift(nn.Module):
    """Generator z + b."""

    z_dim = 2

    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.zeros(2))
        self.unused = nn.Parameter(torch.zeros(3))

    def forward(self, z: Tensor) -> Tensor:
        return z + self.b


class Asks:
    """A watcher that wants slopes and updates and keeps what it saw."""

    needs = frozenset({"slopes", "updates"})

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def __call__(self, state: State, reports: Any) -> None:
        self.seen.append(dict(reports))


def played(watch: Any, *, micro: int | None = None, precision: str = "float32") -> State:
    game = Classic(POINTS, G=Shift(), D=Flat(), adversarial="wasserstein")
    players = {name: lambda weights: optimizers.sgd(weights, lr=0.1) for name in ("D", "G")}
    engine = Engine(batch=16, micro_batch=micro, precision=precision)
    state = State.begin(engine.place(game), players, Alternating())
    engine.settle(state)
    return train(state, engine, Rows(POINTS), 1, [(lambda now: True, watch)] if watch else [])


@pytest.mark.parametrize("micro", [None, 4, 5])
def test_the_slope_of_a_mean_loss_is_that_of_one_sample(micro: int | None) -> None:
    asks = Asks()
    state = played(asks, micro=micro)
    (reports,) = asks.seen
    slope = state.game.arena.critics.critics["D"].w.detach().norm()  # G moves after D
    torch.testing.assert_close(reports["G"].slopes["fake"], slope, rtol=1e-5, atol=0)
    assert reports["D"].slopes == {}  # the critic's weights come after the fakes


def test_norms_are_of_each_weight_and_zero_where_there_is_no_gradient() -> None:
    asks = Asks()
    played(asks)
    norms = asks.seen[0]["G"].norms
    assert norms.shape == (2,) and norms[0] > 0 and norms[1] == 0


def test_asking_changes_no_weight() -> None:
    asked, alone = played(Asks()), played(None)
    for a, b in zip(asked.game.parameters(), alone.game.parameters()):
        assert torch.equal(a, b)


def test_nobody_asked_nobody_pays() -> None:
    asks = Asks()
    asks.needs = frozenset()  # type: ignore[misc]
    played(asks)
    assert asks.seen[0]["G"].slopes == {} and asks.seen[0]["G"].norms is None
