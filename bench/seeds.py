"""Many seeds of one recipe played as one batched model: each seed's weights go as they would alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.critics import Critics
from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Data, Game, Loss, Spec
from gantlet.core.machine import pick_precision
from gantlet.core.noise import key_of, normal, uniform
from gantlet.core.recipe import Recipe
from gantlet.core.state import State
from gantlet.games.mixture import Mixture
from gantlet.nets.stacked import Stacked


class Side(Data):
    """Data sets side by side: of n rows, the first n / k are the first one's."""

    def __init__(self, parts: Sequence[Data]) -> None:
        self.parts = list(parts)

    @property
    def spec(self) -> Spec:
        return self.parts[0].spec

    def take(self, first: int, n: int, device: torch.device) -> Batch:
        k = len(self.parts)
        taken = [part.take(first // k, n // k, device) for part in self.parts]
        y = None if taken[0].y is None else torch.cat([b.y for b in taken if b.y is not None])
        return Batch(torch.cat([b.x for b in taken]), y)


class Pool(Data):
    """Rows of a tensor, drawn anew at every position by a key: what k seeds see, or one."""

    def __init__(self, x: Tensor, seeds: int | tuple[int, ...]) -> None:
        self.x, self.seeds = x, seeds

    @property
    def spec(self) -> Spec:
        return Spec(tuple(self.x.shape[1:]), count=len(self.x))

    def take(self, first: int, n: int, device: torch.device) -> Batch:
        self.x = self.x.to(device)
        u = uniform((), n, key=(self.seeds, "pool"), first=first, device=device)
        return Batch(self.x[(u * len(self.x)).long()])


def one_game(games: Sequence[Game]) -> Game:
    """The first game with networks of all of them side by side; their tricks and losses must keep nothing."""
    game = games[0]
    if len(games) == 1:
        return game
    if any(True for name, _ in game.named_buffers() if name.startswith(("arena.tricks", "arena.states"))):
        raise InputError("a loss or a trick of this game keeps averages, which many seeds at once would share")
    game.G = _stacked([g.G for g in games])  # type: ignore[assignment,arg-type]
    game.arena.critics = _stacked([g.arena.critics for g in games])  # type: ignore[union-attr]
    return game


def _stacked(nets: Sequence[nn.Module]) -> nn.Module:
    """Networks stacked where rows may be cut into equal blocks: inside the critics and inside a mixture."""
    first = nets[0]
    if isinstance(first, Critics):
        for name in first.critics:
            first.critics[name] = _stacked([c.critics[name] for c in nets])  # type: ignore[index,union-attr]
        return first
    if isinstance(first, Mixture):
        for i in range(len(first.generators)):
            first.generators[i] = _stacked([m.generators[i] for m in nets])  # type: ignore[index,union-attr]
        return first
    return Stacked(nets)


def begin(
    recipe: Recipe, spec: Spec, seeds: tuple[int, ...], *, device: str = "cpu", double: bool = False
) -> tuple[State, Engine]:
    """The state of all seeds before the first step; seed j begins as a run of that seed would.

    The recipe's batch is a seed's. Losses are means over all seeds' rows and count as many times as there are seeds, so
    that a seed's gradient is its own; what looks at all weights at once (clip_norm, symplectic's sign) is not the same.
    """
    tree, total, k = recipe.tree, recipe["steps"], len(seeds)
    games = []
    with torch.random.fork_rng(devices=[]):
        for seed in seeds:
            torch.manual_seed(key_of(seed, "init"))
            games.append(registry.bind("game", tree["game"], total=total)(spec))
    engine = Engine(
        device=device, batch=k * tree["batch"], precision=pick_precision(tree["precision"], torch.device(device)),
        channels_last=bool(tree["channels_last"]),
    )  # fmt: skip
    game = one_game(games)
    mean = tree["average"]
    if mean is not None:
        mean = {**mean, "half_life_images": k * mean["half_life_images"]}
    state = State.begin(
        engine.place(game.double() if double else game),
        {name: registry.bind("optimizer", part, total=total) for name, part in tree["players"].items()},
        registry.bind("dynamics", tree["dynamics"], total=total)(),
        averages={} if mean is None else {"ema": registry.bind("average", mean, total=total)},
        seed=seeds,  # type: ignore[arg-type]  # the noise of each, block by block
    )
    state.turns = [turn._replace(loss=lambda scene, loss=turn.loss: _times(k, loss(scene))) for turn in state.turns]
    engine.settle(state)
    return state, engine


def _times(k: int, loss: Loss) -> Loss:
    return Loss({name: k * term for name, term in loss.terms.items()}, loss.stats, loss.views)


def samples(game: Game, seeds: tuple[int, ...], n: int) -> Tensor:
    """n samples of each seed's generator in evaluation mode, [k, n, ...] on the CPU."""
    return torch.cat([some.cpu() for some in drawn(game, seeds, n)], 1)


@torch.no_grad()
def drawn(game: Game, seeds: tuple[int, ...], n: int, *, batch: int = 1_000) -> Iterator[Tensor]:
    """The same in pieces [k, at most `batch`, ...] on the device."""
    k, device = len(seeds), next(game.parameters()).device
    modes = {module: module.training for module in game.modules()}
    game.eval()
    try:
        for first in range(0, n, batch):
            rows = min(batch, n - first)
            z = normal((game.z_dim,), k * rows, key=(seeds, "samples"), first=k * first, device=device)
            z = z.to(next(game.parameters()).dtype)
            yield game.generate(z).float().unflatten(0, (k, rows))
    finally:
        for module, training in modes.items():
            module.train(training) if isinstance(module, Stacked) else setattr(module, "training", training)
