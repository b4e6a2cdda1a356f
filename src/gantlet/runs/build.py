"""From a checked recipe and a data set to a state and an engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from gantlet.core import registry
from gantlet.core.dynamics import name_of
from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.game import Game, Spec
from gantlet.core.machine import Ranks, pick_precision
from gantlet.core.noise import key_of
from gantlet.core.recipe import Recipe
from gantlet.core.state import State
from gantlet.core.train import train
from gantlet.core.when import Now
from gantlet.data import Dataset, Stream
from gantlet.data.few import FewLabels, played_few

SLOW = 3.0  # seconds


class Decided(NamedTuple):
    """What the recipe left to the machine, settled once and kept with the run."""

    device: str
    precision: str
    channels_last: bool


def decide(recipe: Recipe, device: torch.device) -> Decided:
    """Precision and memory layout where the recipe says `auto`."""
    precision = pick_precision(recipe["precision"], device)
    wanted = recipe["channels_last"]
    # measured (docs/benchmarks.md): channels last is 1 to 1.3 times as fast on a CPU, and low precision kernels want it
    last = device.type in ("cpu", "cuda") or precision != "float32"
    return Decided(str(device), precision, last if wanted is None else wanted)


def spec_of(recipe: Recipe, dataset: Dataset) -> Spec:
    """The data as it is played: labelled rows beside the others where few have a label.

    Classes keep their shares where training shows them balanced: samples are compared with the data, which has them.
    """
    labelled = recipe["labelled"]
    if labelled is not None and recipe["balanced"]:
        raise InputError(f"balanced=true: of all but {labelled} rows the class is not known; leave one of the two out")
    if labelled is not None:
        return played_few(dataset, labelled)
    return dataset.spec


def stream_of(recipe: Recipe, dataset: Dataset) -> Stream | FewLabels:
    """The data in the order in which the recipe sees it."""
    if recipe["labelled"] is not None:
        return FewLabels(dataset, labelled=recipe["labelled"], seed=recipe["seed"], flip=recipe["flip"])
    return Stream(dataset, seed=recipe["seed"], flip=recipe["flip"], balanced=recipe["balanced"])


def refuse_unlabelled(game: Game, dataset: Dataset) -> None:
    """InputError where a game reads labels and rows have none."""
    labels = dataset.labels_array() if game.labelled else None
    if game.labelled and labels is None:
        raise InputError(
            f"{dataset.name}: {type(game).__name__.lower()} reads labels and there are none; see labels=true"
        )
    missing = 0 if labels is None else int((labels < 0).sum())
    if missing and game.few_labels:
        raise InputError(
            f"{dataset.name}: {missing:,} of {len(dataset):,} rows have no label, and without labelled=N every row is read "
            f"with its own; use labelled={len(dataset) - missing}, or fewer"
        )
    if missing:
        raise InputError(
            f"{dataset.name}: {missing:,} of {len(dataset):,} rows have no label, and this game tells its networks each "
            "row's class; complete the labels, take the rows out, or use conditional=false (the game semi wants labels of "
            f"some rows only: labelled={len(dataset) - missing})"
        )


def new_game(recipe: Recipe, spec: Spec, *, steps: int) -> Game:
    """The recipe's game as its seed alone initialises it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key_of(recipe["seed"], "init"))
        game = registry.bind("game", recipe["game"], total=steps)(spec)
    assert isinstance(game, Game)
    return game


def build(
    recipe: Recipe, spec: Spec, decided: Decided, *, steps: int, ranks: Ranks | None = None, game: Game | None = None
) -> tuple[State, Engine]:
    """The state before the first step, initialised from the recipe's seed alone, and the engine that plays it."""
    tree = recipe.tree
    engine = Engine(
        device=decided.device,
        precision=decided.precision,
        batch=tree["batch"],
        micro_batch=tree["micro_batch"],
        channels_last=decided.channels_last,
        ranks=ranks,
    )
    game = new_game(recipe, spec, steps=steps) if game is None else game
    if tree["labelled"] is not None and not game.few_labels:
        raise InputError(
            f"labelled={tree['labelled']}: {type(game).__name__.lower()} reads no labelled rows beside the others; use a "
            "game that does (the recipe semi), or labelled=null"
        )
    mean = tree["average"]
    state = State.begin(
        engine.place(game),
        {name: registry.bind("optimizer", part, total=steps) for name, part in tree["players"].items()},
        registry.bind("dynamics", tree["dynamics"], total=steps)(),
        averages={} if mean is None else {mean["use"]: registry.bind("average", mean, total=steps)},
        seed=tree["seed"],
    )
    engine.settle(state)
    if not any(state.dynamics.settled(Now(step=step)) for step in range(1, steps + 1)):
        raise InputError(
            f"dynamics {name_of(state.dynamics)!r} comes to rest at none of {steps:,} steps, and what is sampled and saved "
            "are its rests: the model would stay as it began; use a smaller dynamics.k, or more steps"
        )
    return state, engine


def seconds_per_step(
    recipe: Recipe, dataset: Dataset, decided: Decided, *, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Measured on a state that is thrown away: one step to warm up, then two, or the first alone if it was long."""
    state, engine = build(recipe, spec_of(recipe, dataset), decided, steps=recipe["steps"])
    data = stream_of(recipe, dataset)
    times = []
    for _ in range(3):
        began = clock()
        train(state, engine, data, state.now.step + 1)
        state.check_finite()  # waits for the device
        times.append(clock() - began)
        if times[0] > SLOW:
            break
    return min(times)


def numbers(record: dict[str, Any]) -> dict[str, float]:
    """Device scalars of a flat record read back in one go."""
    if not record:
        return {}
    values = torch.stack([torch.as_tensor(v).detach().float().reshape(()).cpu() for v in record.values()]).tolist()
    return dict(zip(record, values))
