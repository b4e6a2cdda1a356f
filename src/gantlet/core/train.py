"""The whole trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from gantlet.core.dynamics import Reports, name_of
from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.game import Data
from gantlet.core.making import said
from gantlet.core.state import State
from gantlet.core.when import When

PATIENCE = 20  # rounds in which every player that is due has moved, whatever the dynamics

# A watcher looks after the step. It may say what it needs: `do.needs = frozenset({"views", "updates"})`.
Watcher = Callable[[State, Reports], Any]
Watch = tuple[When, Watcher]


class Stop(Exception):
    """Raised by a watcher to end training after this step, with the reason."""


def train(state: State, engine: Engine, data: Data, steps: int, watch: Sequence[Watch] = ()) -> State:
    """Play until `state.now.step` is `steps`, or until a watcher raises `Stop`."""
    first, waiting = state.now.step, set[str]()
    with torch.random.fork_rng(devices=_gpus(engine)):  # the caller's generators are not ours to move
        while state.now.step < steps:
            engine.needs = _needs(state, watch)
            early = state.now.step <= first + PATIENCE
            if early:
                waiting |= {turn.player for turn in state.turns if turn.when(state.now)}
            reports = state.dynamics(state, engine, data)
            if early:
                _refuse_idle(state, engine, reports, waiting if state.now.step == first + PATIENCE else set())
            state.now = state.now._replace(step=state.now.step + 1, play=0)
            state.average()
            for when, do in watch:
                if when(state.now):
                    do(state, reports)
    return state


def _refuse_idle(state: State, engine: Engine, reports: Any, waiting: set[str]) -> None:
    """InputError for a dynamics that does not report, or under which a player whose turn it was never moved."""
    who = f"dynamics {name_of(state.dynamics)!r}"
    if not isinstance(reports, dict):
        raise InputError(f"{who} gave {said(reports)}; a round has to return {{turn's name: its Report}}")
    if idle := sorted(waiting - engine.moved):
        raise InputError(
            f"{who} moved {', '.join(map(repr, idle))} in none of {PATIENCE + 1} rounds, though turns were due; move a "
            "player with engine.move(state, player, gradient)"
        )


def _needs(state: State, watch: Iterable[Watch]) -> frozenset[str]:
    """What the watchers due after this step want to look at."""
    after = state.now._replace(step=state.now.step + 1)
    return frozenset().union(*(getattr(do, "needs", frozenset()) for when, do in watch if when(after)))


def _gpus(engine: Engine) -> list[int]:
    return [engine.device.index or 0] if engine.device.type == "cuda" else []
