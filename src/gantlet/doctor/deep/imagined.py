"""Playing on from where a training stands, without it ever having happened."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gantlet.core.dynamics import buffers_kept
from gantlet.core.optimizers import Player
from gantlet.core.state import State


@contextmanager
def imagined(state: State) -> Iterator[State]:
    """A state on the same networks that may be played with; afterwards weights, buffers, moments, alarms, time and random
    generators are as they were. Its players have no loss scale.
    """
    devices = {p.device for p in state.game.parameters() if p.device.type == "cuda"}
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[d.index or 0 for d in devices]))
        stack.enter_context(buffers_kept(state.game))
        players = {name: stack.enter_context(_player_kept(player)) for name, player in state.players.items()}
        yield replace(state, players=players, alarms={})


@contextmanager
def _player_kept(player: Player) -> Iterator[Player]:
    """The player with moments of its own to move; its weights, moments and settings come back."""
    opt, marks = player.opt, dict(vars(player.opt))
    own: list[Tensor] = list(player.weights)
    weights = [w.detach().clone() for w in own]
    moments: dict[Tensor, Any] = {w: opt.state[w] for w in own if w in opt.state}
    settings = [dict(group) for group in opt.param_groups]
    for weight, kept in moments.items():
        opt.state[weight] = {k: v.clone() if torch.is_tensor(v) else copy.deepcopy(v) for k, v in kept.items()}
    other = copy.copy(player)
    other.scale = other.grown = None
    try:
        yield other
    finally:
        with torch.no_grad():
            torch._foreach_copy_(own, weights)
        for weight in own:
            opt.state.pop(weight, None)
        opt.state.update(moments)
        for group, before in zip(opt.param_groups, settings):
            group.update(before)
        vars(opt).clear()
        vars(opt).update(marks)
