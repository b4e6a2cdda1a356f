"""The Jacobian of a game's field, known by its products, and what a round of training makes of small deviations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gantlet.core.dynamics import field
from gantlet.core.engine import Engine
from gantlet.core.game import Batch
from gantlet.core.gradients import Gradient
from gantlet.core.optimizers import Player
from gantlet.core.state import State
from gantlet.core.when import Now
from gantlet.games.arena import Arena

LONGEST = 64  # steps after which penalties that are due now and then need not repeat


class _Rows(NamedTuple):
    """Some players' gradients as a linear function of u: J^T u in all weights, with a graph."""

    share: float
    places: list[int]  # of the weights that have a gradient
    u: list[Tensor]
    columns: dict[int, Tensor]  # place of a weight -> (J^T u) there


class Jacobian:
    """J of the players' gradients in all weights at the current point; a player's rows are those of its own weights.

    Products go through the graph of the gradients twice: J v is the derivative in u of (J^T u) . v. A weight that two
    players move has the sum of both their rows. Everything is kept on the device until this object goes.
    """

    def __init__(self, state: State, engine: Engine, batch: Batch) -> None:
        named = {id(w): w for player in state.players.values() for w in player.weights}
        self.weights: list[nn.Parameter] = list(named.values())
        self.sizes = [w.numel() for w in self.weights]
        self.places = {
            name: [i for i, w in enumerate(self.weights) if any(w is own for own in player.weights)]
            for name, player in state.players.items()
        }
        self.gradient = torch.zeros((), device=engine.device)  # the norm of the mean field
        self.rows: dict[str, list[_Rows]] = {name: [] for name in state.players}
        mean: dict[tuple[str, int], Tensor] = {}
        for now, share in phases(state):
            engine.forget()
            for name, gradient in field(state, engine, batch, now, create_graph=True).items():
                self.rows[name].append(self._rows_of(name, state.players[name], gradient, share))
                for i, grad in enumerate(gradient.grads):
                    if grad is not None:
                        mean[name, i] = mean.get((name, i), torch.zeros_like(grad)) + share * grad.detach()
        if mean:
            self.gradient = torch.stack(torch._foreach_norm(list(mean.values()))).norm()

    def _rows_of(self, name: str, player: Player, gradient: Gradient, share: float) -> _Rows:
        place = {id(w): i for i, w in enumerate(self.weights)}
        felt = [
            (place[id(w)], g)
            for w, g in zip(player.weights, gradient.grads)
            if g is not None and g.requires_grad  # a constant gradient has no row
        ]
        u = [torch.zeros_like(g, requires_grad=True) for _, g in felt]
        if not felt:
            return _Rows(share, [], [], {})
        found = Engine.pull([g for _, g in felt], self.weights, u, again=True)
        columns = {i: c for i, c in enumerate(found) if c is not None and c.requires_grad}
        return _Rows(share, [i for i, _ in felt], u, columns)

    @property
    def size(self) -> int:
        return sum(self.sizes)

    def times(self, v: Tensor, players: Sequence[str] | None = None) -> Tensor:
        """J v [n] for v [n], with zeros in the rows of players that are not asked for."""
        parts = self.split(v)
        out = [torch.zeros_like(p) for p in parts]
        for name in self.rows if players is None else players:
            for rows in self.rows[name]:
                self._add(out, rows, parts)
        return torch.cat([o.reshape(-1) for o in out])

    @staticmethod
    def _add(out: list[Tensor], rows: _Rows, parts: list[Tensor]) -> None:
        if not rows.columns:
            return
        along = [parts[i] for i in rows.columns]
        found = Engine.pull(list(rows.columns.values()), rows.u, along, again=True)
        for place, part in zip(rows.places, found):
            if part is not None:
                out[place] += rows.share * part.detach()

    def split(self, v: Tensor) -> list[Tensor]:
        """[n] -> a part for each weight, in its shape."""
        return [part.view_as(w) for part, w in zip(torch.split(v, self.sizes), self.weights)]


def phases(state: State) -> list[tuple[Now, float]]:
    """Steps that differ in which turns and penalties are due, each with its share of all steps.

    A lazy penalty counts `every` times as much in the steps in which it is due: the field that training follows is the
    mean over a period.
    """
    arenas = [m for m in state.game.modules() if isinstance(m, Arena)]
    penalties = [p for arena in arenas for p in arena.penalties.values()]
    period = min(LONGEST, math.lcm(*(p.every for p in penalties)) if penalties else 1)
    found: dict[tuple[bool, ...], list[Now]] = {}
    for step in range(state.now.step, state.now.step + period):
        now = state.now._replace(step=step)
        due = tuple([turn.when(now) for turn in state.turns] + [p.due(now) for p in penalties])
        found.setdefault(due, []).append(now)
    return [(nows[0], len(nows) / period) for nows in found.values()]


# ---- a round, linearised ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pace:
    """How far a player moves for a gradient: m' = momentum m + share g, w' = w - sizes m'."""

    sizes: dict[int, Tensor | float]  # place of a weight -> its step
    momentum: float
    share: float
    decay: float


def pace_of(player: Player, places: Sequence[int], now: Now, device: torch.device) -> Pace:
    """The player's step as it is now. What an optimiser has learnt of gradients' sizes (Adam, RMSProp) counts as constant;
    clipping is left out; one that has not stepped yet moves as gradient descent does.
    """
    group, rate = player.opt.param_groups[0], player.rate(now)
    sizes: dict[int, Tensor | float] = {}
    for place, weight in zip(places, player.weights):
        kept = player.opt.state.get(weight, {})
        second = next((kept[k] for k in ("max_exp_avg_sq", "exp_avg_sq", "square_avg") if k in kept), None)
        if second is None:
            sizes[place] = rate
            continue
        warm = 1 - group["betas"][1] ** float(kept["step"]) if "betas" in group else 1.0
        sizes[place] = rate / ((second.to(device) / max(warm, 1e-12)).sqrt() + group["eps"])
    fresh = all(not torch.is_tensor(s) for s in sizes.values())
    beta = float(group["betas"][0]) if "betas" in group and not fresh else 0.0
    heavy = float(group.get("momentum", 0.0))
    return Pace(sizes, beta or heavy, 1 - beta, float(group.get("weight_decay", 0.0)))


class Round:
    """What one round makes of a small deviation of the weights and momenta from where they are.

    `together`: all players move from the same point; otherwise in turn, each seeing the moves before its own.
    """

    def __init__(self, jacobian: Jacobian, state: State, *, together: bool) -> None:
        device = jacobian.weights[0].device
        self.jacobian, self.together = jacobian, together
        self.paces = {
            name: pace_of(player, self._own_places(jacobian, player), state.now, device)
            for name, player in state.players.items()
        }
        turns = {turn.player: turn for turn in reversed(state.turns)}
        order = dict.fromkeys(turn.player for turn in state.turns)
        self.order = [name for name in order for _ in range(1 if together else turns[name].times)]
        self.heavy = [name for name, pace in self.paces.items() if pace.momentum]

    @staticmethod
    def _own_places(jacobian: Jacobian, player: Player) -> list[int]:
        place = {id(w): i for i, w in enumerate(jacobian.weights)}
        return [place[id(w)] for w in player.weights]

    @property
    def size(self) -> int:
        """Of a deviation: the weights, and the momenta of the players that have any."""
        own = [self.jacobian.sizes[place] for name in self.heavy for place in self.paces[name].sizes]
        return self.jacobian.size + sum(own)

    def __call__(self, deviation: Tensor) -> Tensor:
        """The deviation [size] after the round."""
        n = self.jacobian.size
        after = deviation.clone()
        weights, momenta = after[:n], self._momenta(after[n:])
        for name in self.order:
            seen = deviation[:n] if self.together else weights.clone()
            slope = self.jacobian.times(seen, [name])
            self._move(name, seen, slope, weights, momenta.get(name))
        return after

    def _momenta(self, rest: Tensor) -> dict[str, dict[int, Tensor]]:
        """Views of the momenta: player -> place of a weight -> its own."""
        found: dict[str, dict[int, Tensor]] = {}
        for name in self.heavy:
            places = list(self.paces[name].sizes)
            sizes = [self.jacobian.sizes[place] for place in places]
            parts, rest = torch.split(rest[: sum(sizes)], sizes), rest[sum(sizes) :]
            found[name] = {i: p.view_as(self.jacobian.weights[i]) for i, p in zip(places, parts)}
        return found

    def _move(
        self, name: str, seen: Tensor, slope: Tensor, weights: Tensor, momenta: Mapping[int, Tensor] | None
    ) -> None:
        """Change weights and momenta in place, as the player's step does."""
        pace = self.paces[name]
        at, slopes, to = (self.jacobian.split(t) for t in (seen, slope, weights))
        for place, size in pace.sizes.items():
            change = pace.share * (slopes[place] + pace.decay * at[place])
            if momenta is not None:
                change = momenta[place].mul_(pace.momentum).add_(change)
            to[place] -= size * change
