"""The one record of everything that changes while training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.dynamics import Dynamics
from gantlet.core.errors import InputError, NonFiniteError
from gantlet.core.game import Game, Turn
from gantlet.core.making import said
from gantlet.core.optimizers import Player
from gantlet.core.registry import average
from gantlet.core.when import Now

NEVER = -1


@average.named("ema")
class Average:
    """Exponential moving average of the weights that generate, half-life in images (Karras et al. 2018, appendix)."""

    def __init__(
        self,
        game: Game,
        *,
        half_life_images: Annotated[float, Field(ge=0)] = 20_000.0,
        ramp_up: Annotated[float, Field(gt=0)] | None = 0.1,  # early on: this share of the images seen so far
    ) -> None:
        self.half_life_images, self.ramp_up = half_life_images, ramp_up
        self.live = game.made_of()
        self.game = with_own_copies(game)
        self.copies = self.game.made_of()
        self._own, self._theirs = (_weights(modules) for modules in (self.copies, self.live))
        for module in self.copies.values():
            module.requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, now: Now, images: int) -> None:
        """Move towards the live weights by what `images` new ones are worth."""
        half_life = self.half_life_images
        if self.ramp_up is not None:
            half_life = min(half_life, now.images * self.ramp_up)
        keep = 0.5 ** (images / max(half_life, 1e-8))
        torch._foreach_lerp_(self._own, self._theirs, 1 - keep)
        for name, module in self.live.items():
            for own, other in zip(self.copies[name].buffers(), module.buffers()):
                own.copy_(other)

    def state_dict(self) -> dict[str, Any]:
        return {name: module.state_dict() for name, module in self.copies.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, module in self.copies.items():
            module.load_state_dict(state[name])


def _weights(modules: Mapping[str, nn.Module]) -> list[Tensor]:
    """Each weight once, also where modules share it."""
    return list({id(p): p for module in modules.values() for p in module.parameters()}.values())


def with_own_copies(game: Game) -> Game:
    """The same game with its own copies of what generates; every other module is shared, not copied."""
    made = {id(m) for module in game.made_of().values() for m in module.modules()}
    shared = [m for m in game.modules() if id(m) not in made and not any(id(s) in made for s in m.modules())]
    return copy.deepcopy(game, {id(m): m for m in shared})


@dataclass
class State:
    """Everything that changes while training; nothing else does."""

    game: Game
    turns: list[Turn]
    players: dict[str, Player]
    dynamics: Dynamics
    averages: dict[str, Average] = field(default_factory=dict)
    watchers: dict[str, Any] = field(default_factory=dict)  # those that carry something from step to step
    now: Now = field(default_factory=Now)
    # (turn, labels) -> int64 [labels]: the first step at which each was not finite; on the device until it is read
    alarms: dict[tuple[str, tuple[str, ...]], Tensor] = field(default_factory=dict)
    averaged: int = 0  # images when the averages last moved

    # walking through a game's modules takes as long as a small network's forward pass, and they do not change in play
    @cached_property
    def parameters(self) -> list[nn.Parameter]:
        """Every weight of the game once."""
        return list(self.game.parameters())

    @cached_property
    def _staged(self) -> frozenset[nn.Parameter]:
        return frozenset(p for module in self.game.stagers() for p in module.parameters())

    def makes_scenes(self, weights: Iterable[nn.Parameter]) -> bool:
        """Is what all players see made with one of these weights?"""
        return any(w in self._staged for w in weights)

    @classmethod
    def begin(
        cls,
        game: Game,
        players: Mapping[str, Callable[[list[nn.Parameter]], Player]],
        dynamics: Dynamics,
        *,
        averages: Mapping[str, Callable[[Game], Average]] | None = None,
        seed: int = 0,
    ) -> State:
        """The state before the first step. InputError where players and game do not fit each other."""
        turns, owns = game.turns(), game.owns()
        if not isinstance(turns, list) or not all(isinstance(turn, Turn) for turn in turns) or not turns:
            raise InputError(f"{type(game).__name__}.turns() gave {said(turns)}; it has to return a list of Turn")
        if not isinstance(owns, dict) or not owns:
            raise InputError(f"{type(game).__name__}.owns() gave {said(owns)}; it has to return {{player: [modules]}}")
        faults = [
            f"players.{p}: the game has no player {p!r}; it has: {', '.join(owns)}" for p in players if p not in owns
        ]
        faults += [f"players.{p}: this player of the game needs an optimiser" for p in owns if p not in players]
        faults += [f"turn {t.name!r}: the game has no player {t.player!r}" for t in turns if t.player not in owns]
        twice = sorted({t.name for t in turns if sum(t.name == other.name for other in turns) > 1})
        faults += [f"turn {name!r}: two turns have this name; reports and noise go by it" for name in twice]
        if faults:
            raise InputError(faults)
        dynamics.check(game, turns)
        made = {name: players[name](weights_of(modules)) for name, modules in owns.items()}
        dynamics.begin(made)
        means = {name: make(game) for name, make in (averages or {}).items()}
        if dynamics.lags and not means:
            means["slow"] = Average(game, half_life_images=0.0, ramp_up=None)
        return cls(game, turns, made, dynamics, means, now=Now(seed=seed))

    def look(self, turn: Turn, labels: tuple[str, ...], finite: Tensor) -> None:
        """Remember which of a turn's values were not finite (bool [labels]), without asking the host."""
        key = (turn.name, labels)
        seen = self.alarms.get(key)
        if seen is None:
            seen = torch.full((len(labels),), NEVER, device=finite.device)
        self.alarms[key] = torch.where((seen == NEVER) & ~finite, self.now.step, seen)

    def check_finite(self) -> None:
        """NonFiniteError that names the first bad step, player and terms. Waits for the device."""
        found = [
            (step, turn, label)
            for (turn, labels), steps in self.alarms.items()
            for label, step in zip(labels, steps.tolist())
            if step != NEVER
        ]
        if not found:
            return
        first = min(step for step, _, _ in found)
        turn = next(t for t in self.turns if any(f[:2] == (first, t.name) for f in found))
        labels = list(dict.fromkeys(label for step, name, label in found if (step, name) == (first, turn.name)))
        terms = [label for label in labels if label != "gradient"] or labels  # a bad term spoils the gradient too
        raise NonFiniteError(
            f"step {first}: player {turn.player!r}: {' and '.join(repr(t) for t in terms)} became NaN or infinite, so "
            "its weights were not moved. Lower the learning rate, strengthen the penalty, or use precision=float32"
        )

    def average(self) -> None:
        """Move the averages by the images seen since they last moved, where the dynamics has settled."""
        if not self.dynamics.settled(self.now):
            return
        for mean in self.averages.values():
            mean.update(self.now, self.now.images - self.averaged)
        self.averaged = self.now.images

    def best_game(self) -> Game:
        """The game with averaged weights where there are any."""
        return next((mean.game for mean in self.averages.values()), self.game)

    def state_dict(self) -> dict[str, Any]:
        return {
            "game": dict(self.game.state_dict()),
            "players": {name: player.state_dict() for name, player in self.players.items()},
            "dynamics": dict(self.dynamics.state_dict()),
            "averages": {name: mean.state_dict() for name, mean in self.averages.items()},
            "watchers": {name: watcher.state_dict() for name, watcher in self.watchers.items()},
            "now": {**{k: getattr(self.now, k) for k in ("step", "images", "seed")}, "averaged": self.averaged},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.game.load_state_dict(state["game"])
        self.dynamics.load_state_dict(state["dynamics"])
        for name, player in self.players.items():
            player.load_state_dict(state["players"][name])
        for name, mean in self.averages.items():
            mean.load_state_dict(state["averages"][name])
        for name, watcher in self.watchers.items():
            if name in state["watchers"]:  # it may not have watched when this was saved
                watcher.load_state_dict(state["watchers"][name])
        now = dict(state["now"])
        self.averaged = now.pop("averaged", now["images"])
        self.now = Now(**now)
        self.alarms.clear()  # they were of the play that is left behind


def weights_of(modules: list[nn.Module]) -> list[nn.Parameter]:
    """Each trainable weight once, also where modules share it."""
    seen: dict[int, nn.Parameter] = {id(p): p for m in modules for p in m.parameters() if p.requires_grad}
    return list(seen.values())
