"""Small games for the tests: every recipe with narrow networks, data that is a function of its position."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

import gantlet.augment
import gantlet.core.schedules
import gantlet.dynamics
import gantlet.games
import gantlet.losses
import gantlet.nets
import gantlet.recipes
import gantlet.tricks  # noqa: F401 (importing registers)
from gantlet.core import registry
from gantlet.core.dynamics import Reports
from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Game, Loss, Spec
from gantlet.core.noise import uniform
from gantlet.core.recipe import Recipe, recipe
from gantlet.core.state import State
from gantlet.core.train import train

RECIPES = sorted(registry.recipe.parts)
# recipes that are played differently: `auto` without data is another recipe
DISTINCT = sorted({recipe(n).to_yaml(): n for n in RECIPES}.values())
GAMES = [n for n in DISTINCT if set(recipe(n)["players"]) == {"D", "G"}]
OTHER_PLAYERS = [n for n in DISTINCT if n not in GAMES]  # one player, or others than D and G
DYNAMICS = sorted(registry.dynamics.parts)
OPTIMIZERS = sorted(registry.optimizer.parts)
IMAGES = Spec((1, 8, 8), classes=3)
POINTS = Spec((2,))
# what makes any network of the package narrow
SMALL = {
    "width": 4,
    "widest": 8,
    "z": 6,
    "w": 8,
    "hidden": [8],
    "frame": 2,
    "units": 12,
    "categorical": [3],
    "continuous": 1,
}


@dataclass
class Rows:
    """Data whose row at position p depends on p alone."""

    spec: Spec = IMAGES
    dtype: torch.dtype = torch.float32

    def take(self, first: int, n: int, device: torch.device) -> Batch:
        u = uniform(self.spec.shape, n, key=("rows",), first=first, device=device).to(self.dtype)
        index = torch.arange(first, first + n, device=device)
        return Batch(2 * u - 1, index % self.spec.classes if self.spec.classes else None, index=index)


@dataclass
class Play:
    """A state with what it takes to play it."""

    state: State
    engine: Engine
    data: Rows
    recipe: Recipe
    trace: list[dict[str, dict[str, float]]] = field(default_factory=list)

    def run(self, steps: int, *watch: Any) -> Play:
        train(self.state, self.engine, self.data, steps, watch)
        return self

    def step(self) -> Reports:
        """One step without the trainer."""
        reports = self.state.dynamics(self.state, self.engine, self.data)
        self.state.now = self.state.now._replace(step=self.state.now.step + 1, play=0)
        return reports

    def weights(self, player: str | None = None) -> list[Tensor]:
        names = [player] if player else list(self.state.players)
        return [w.detach().clone() for name in names for w in self.state.players[name].weights]


def small(made: Recipe) -> Recipe:
    """The same recipe with narrow networks and a small batch."""
    tree = narrow(made.tree)
    assert isinstance(tree, dict)
    return Recipe(made.name, {**tree, "batch": 8, "precision": "float32"})


def narrow(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    return {k: SMALL[k] if k in SMALL else narrow(v) for k, v in tree.items()}


def play(
    name: str | Recipe,
    *changes: str,
    data: Rows | None = None,
    game: Game | None = None,
    seed: int = 0,
    **engine_options: Any,
) -> Play:
    """A small recipe, built as a run builds it."""
    made = small(recipe(name)) if isinstance(name, str) else name
    made = made.override(*changes) if changes else made
    data = data or Rows()
    tree, total = made.tree, made["steps"]
    torch.manual_seed(seed)
    if game is None:
        game = registry.bind("game", tree["game"], total=total)(data.spec)
    game.to(data.dtype)
    engine = Engine(batch=made["batch"], micro_batch=made["micro_batch"], **engine_options)
    engine.place(game)
    players = {k: registry.bind("optimizer", v, total=total) for k, v in tree["players"].items()}
    averages = {"ema": registry.bind("average", tree["average"], total=total)} if tree["average"] else {}
    dynamics = registry.bind("dynamics", tree["dynamics"], total=total)()
    state = State.begin(game, players, dynamics, averages=averages, seed=seed)
    engine.settle(state)
    return Play(state, engine, data, made)


def state_of(game: Game, dynamics: str = "alternating", lr: float = 0.1) -> State:
    """A state of a game of one's own, moved by gradient descent."""
    tree, _ = registry.check("optimizer", {"use": "sgd", "lr": lr})
    player = registry.bind("optimizer", tree, total=10)
    return State.begin(game, dict.fromkeys(game.owns(), player), registry.dynamics.find(dynamics).fn())


@cache
def accepts(name: str, dynamics: str) -> bool:
    """Does this dynamics play this recipe?"""
    try:
        play(name, f"dynamics={dynamics}")
    except InputError:
        return False
    return True


def covering(
    *factors: Sequence[str], accepts: Callable[[tuple[str, ...]], bool] = lambda row: True
) -> list[tuple[str, ...]]:
    """Rows in which every acceptable pair of values of two factors occurs: a covering array of strength 2, greedily."""
    rows = [row for row in itertools.product(*factors) if accepts(row)]
    pairs = {row: {(i, row[i], j, row[j]) for i, j in itertools.combinations(range(len(row)), 2)} for row in rows}
    left = set().union(*pairs.values())
    chosen = []
    while left:
        best = max(rows, key=lambda row: len(pairs[row] & left))  # the first of equals: the same array every time
        chosen.append(best)
        left -= pairs[best]
    return chosen


# one recipe for each game, and those with a state of their own kind: all dynamics and optimisers meet these
LAWS = [
    "mlp", "dcgan", "sngan", "wgan-gp", "r1gan", "gman", "d2gan", "mad-gan", "infogan", "acgan", "biggan", "progan",
    "stylegan2-ada",
]  # fmt: skip
# every dynamics with perceptrons, with batch norm and with the recipe that converges; every recipe with two dynamics
KEY = ("mlp", "dcgan", "r1gan")
PLAYABLE = [
    (r, d)
    for i, r in enumerate(GAMES)
    for j, d in enumerate(DYNAMICS)
    if (r in KEY or d == "alternating" or j == i % len(DYNAMICS)) and accepts(r, d)
]


def has_batch_norm(game: nn.Module) -> bool:
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in game.modules())


def spoil(state: State, turn: str, wrap: Callable[[Any, Loss], Loss]) -> None:
    """Pass what a turn says through `wrap`."""

    def changed(t: Any) -> Any:
        return t._replace(loss=lambda scene: wrap(scene, t.loss(scene)))

    state.turns = [changed(t) if t.name == turn else t for t in state.turns]


def same(a: Iterable[Tensor], b: Iterable[Tensor]) -> bool:
    a, b = list(a), list(b)
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b))


def largest_gap(a: Iterable[Tensor], b: Iterable[Tensor]) -> float:
    return max(number((x - y).abs().max()) for x, y in zip(a, b, strict=True))


def tensors(tree: Any) -> dict[str, Tensor]:
    """Every tensor of a nested state, by its path."""
    if isinstance(tree, Tensor):
        return {"": tree}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    return {f"{k}.{path}": t for k, v in items for path, t in tensors(v).items()}


class Saddle(Game):
    """min over x max over y of x y: G moves x, D moves y."""

    def __init__(self, x: float = 1.0, y: float = 1.0) -> None:
        super().__init__()
        self.z_dim = 1
        self.x, self.y = Number(x), Number(y)

    def owns(self) -> dict[str, list[nn.Module]]:
        return {"D": [self.y], "G": [self.x]}

    def turns(self) -> list[Any]:
        from gantlet.core.game import Turn

        return [
            Turn("D", "D", lambda s: Loss({"D": -self.y.value * s})),
            Turn("G", "G", lambda s: Loss({"G": self.y.value * s})),
        ]

    def stage(self, batch: Batch, now: Any) -> Tensor:
        return self.generate(batch.x)

    def generate(self, z: Tensor, *given: Tensor) -> Tensor:
        return self.x.value

    def made_of(self) -> dict[str, nn.Module]:
        return {"x": self.x}

    @property
    def point(self) -> list[float]:
        return [self.x.value.detach().item(), self.y.value.detach().item()]


class Dirac(Saddle):
    """Data at 0, G at x, D(t) = y t, with the non-saturating loss (Mescheder, Geiger and Nowozin 2018)."""

    def turns(self) -> list[Any]:
        from gantlet.core.game import Turn

        soft = torch.nn.functional.softplus
        return [
            Turn("D", "D", lambda s: Loss({"D": soft(self.y.value * s)})),
            Turn("G", "G", lambda s: Loss({"G": soft(-self.y.value * s)})),
        ]


class Number(nn.Module):
    """One weight, float64."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value, dtype=torch.float64))


def number(t: Tensor) -> float:
    """A 0-d tensor's value, graph or not."""
    return float(t.detach())
