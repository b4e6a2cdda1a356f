"""Many seeds as one batched model go, weight by weight, as each does alone."""

from __future__ import annotations

import pytest
import torch

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.recipe import Recipe
from gantlet.core.registry import use
from gantlet.core.train import train
from gantlet.games.mixture import Mixture
from gantlet.nets.stacked import Stacked
from gantlet.runs.build import Decided, build
from helpers import largest_gap
from mixtures import METHODS, base
from seeds import Pool, Side, begin, drawn, one_game, samples

SEEDS = (4, 0, 9)
SPEC = Spec((2,))
DECIDED = Decided("cpu", "float32", False)


def narrow(recipe: Recipe, *changes: str) -> Recipe:
    """The same with small networks and Adam's rate high enough to go somewhere."""
    norm = recipe["game.G"].get("batch_norm", False)
    small = recipe.override(
        G=use("mlp", z=2, hidden=[5, 4], batch_norm=norm),
        D=use(recipe["game.D"]["use"], hidden=[5, 4]),
        batch=12,
    )
    return small.override("players.G.lr=0.01", "players.D.lr=0.01", *changes)


CASES = {
    "relativistic": narrow(METHODS["relativistic"](), "dynamics=alternating"),
    "pacgan2": narrow(METHODS["pacgan2"](), "penalties.r1.gamma=1"),
    "wgan-gp": narrow(METHODS["wgan-gp"](), "d_steps=2"),
    "unrolled": narrow(METHODS["unrolled"](), "dynamics.k=2"),
    "mad-gan": narrow(METHODS["mad-gan"]()),
    "extragradient": narrow(METHODS["extragradient"](), "tricks.instance-noise.sigma=0.1"),
    "ours": narrow(METHODS["ours"]()),
}


def points() -> torch.Tensor:
    return torch.randn(500, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("name", CASES)
def test_every_seed_goes_as_it_does_alone(name: str) -> None:
    """Some steps with Adam, float64: weights, running statistics and averages of each seed."""
    steps = 20 if name in ("relativistic", "pacgan2") else 6
    recipe = CASES[name].override(f"steps={steps}")
    state, engine = begin(recipe, SPEC, SEEDS, double=True)
    train(state, engine, Pool(points(), SEEDS), steps)
    for j, seed in enumerate(SEEDS):
        alone, one = build(recipe.override(f"seed={seed}"), SPEC, DECIDED, steps=steps)
        for game in (alone.game, alone.best_game()):
            game.double()
        before = [w.clone() for w in alone.game.parameters()]
        train(alone, one, Pool(points(), seed), steps)
        assert largest_gap(before, alone.game.parameters()) > 1e-2
        pairs = [(state.game.G, alone.game.G), (state.best_game().G, alone.best_game().G)]
        pairs.append((state.game.arena.critics.critics["D"], alone.game.arena.critics.critics["D"]))
        for together, single in pairs:
            for stacked, own in zip(parts(together), parts(single), strict=True):
                mine = stacked.net(j).state_dict()
                assert list(mine) == list(own.state_dict())
                for key, value in own.state_dict().items():
                    torch.testing.assert_close(mine[key], value, atol=1e-6, rtol=1e-5, msg=f"seed {seed}: {key}")


def parts(net: torch.nn.Module) -> list[torch.nn.Module]:
    return list(net.generators) if isinstance(net, Mixture) else [net]


def test_samples_are_block_by_block_and_leave_the_modes_alone() -> None:
    recipe = CASES["pacgan2"]
    state, engine = begin(recipe, SPEC, SEEDS)
    train(state, engine, Pool(points().float(), SEEDS), 3)
    made = samples(state.game, SEEDS, 30)
    assert made.shape == (3, 30, 2) and state.game.G.training
    pieces = torch.cat(list(drawn(state.game, SEEDS, 30, batch=7)), 1)
    torch.testing.assert_close(made, pieces, atol=1e-6, rtol=1e-5)
    z = torch.randn(36, 2)
    one, other = (
        state.game.G(z * scale)[0].detach() for scale in (torch.ones(36, 1), 1 + torch.arange(36).view(36, 1))
    )
    assert float((one - other).abs().max()) > 1e-4, "batch norm is in training mode again: rows see each other"
    assert isinstance(state.game.G, Stacked)
    for j in range(3):
        assert float((made[j] - made[(j + 1) % 3]).abs().max()) > 1e-3


def test_parts_with_averages_of_their_own_are_refused() -> None:
    recipe = narrow(base(), "penalties.lecam.weight=1")
    games = [registry.bind("game", recipe["game"], total=1)(SPEC) for _ in range(2)]
    with pytest.raises(InputError, match="share"):
        one_game(games)


def test_data_side_by_side() -> None:
    a, b = Pool(points(), 3), Pool(points() + 10, 5)
    batch = Side([a, b]).take(8, 6, torch.device("cpu"))
    assert torch.equal(batch.x, torch.cat([a.take(4, 3, torch.device("cpu")).x, b.take(4, 3, torch.device("cpu")).x]))
    both = Pool(points(), (3, 5)).take(8, 6, torch.device("cpu")).x
    assert torch.equal(both[:3], batch.x[:3])
