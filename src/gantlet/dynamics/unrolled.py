"""Unrolled play: one player is judged by where its opponent will have gone, and differentiates through the way there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.dynamics import Dynamics, Reports, name_of, refuse_first_order
from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Data, Game, Turn
from gantlet.core.gradients import Gradient, add
from gantlet.core.optimizers import Player, within
from gantlet.core.registry import dynamics
from gantlet.core.state import State
from gantlet.core.when import Now

Values = dict[nn.Parameter, Tensor]


@dynamics
class Unrolled(Dynamics):
    """G descends its loss against D after k more steps of D, through those steps (Metz et al. 2017, eqs. 7-10).

    Both gradients are taken at the same point. The steps ahead are those of the opponent's own optimiser, from its
    current moments, on copies; D itself makes its ordinary move.
    """

    second_order = True

    def __init__(
        self,
        *,
        k: Annotated[int, Field(ge=1, le=100)] = 5,
        lr: Annotated[float, Field(gt=0)] | None = None,  # of the steps ahead; null: the opponent's own
        looks: str = "G",  # who looks ahead
    ) -> None:
        super().__init__()
        self.k, self.lr, self.looks = k, lr, looks

    def check(self, game: Game, turns: list[Turn]) -> None:
        name, owns = name_of(self), game.owns()
        refuse_first_order(game, name)
        if self.looks not in owns:
            raise InputError(
                f"dynamics.looks={self.looks}: the game has no player {self.looks!r}; it has: {', '.join(owns)}"
            )
        if len(owns) != 2:
            raise InputError(
                f"dynamics {name!r} looks ahead of one opponent, this game has the players {', '.join(owns)}; "
                "use dynamics=alternating or lookahead"
            )
        mine = [turn for turn in turns if turn.player == self.looks]
        if len(mine) != 1 or mine[0].times != 1:
            raise InputError(
                f"dynamics {name!r} defines one move a round for the player that looks ahead, but {self.looks!r} has "
                f"{sum(t.times for t in mine)}; play it once, or use dynamics=alternating"
            )
        sides = [{id(p) for m in modules for p in m.parameters()} for modules in owns.values()]
        if sides[0] & sides[1]:
            raise InputError(f"dynamics {name!r}: the players share weights, so the opponent's steps ahead move both")

    def begin(self, players: dict[str, Player]) -> None:
        for name, player in players.items():
            if name != self.looks and player.clip_norm is not None:
                raise InputError(
                    f"players.{name}.clip_norm={player.clip_norm:g}: the steps ahead of dynamics {name_of(self)!r} are not "
                    f"clipped by their norm; use players.{name}.clip_norm=null, or another dynamics"
                )

    def forward(self, state: State, engine: Engine, data: Data) -> Reports:
        due = [turn for turn in state.turns if turn.when(state.now)]
        others = [turn for turn in due if turn.player != self.looks]
        batch, now = engine.draw(state, data)
        ahead = {t.name: self._gradient(state, engine, t, others, batch, now) for t in due if t.player == self.looks}
        reports: Reports = {}
        for turn, k in [(other, k) for other in others for k in range(other.times)]:
            if k:
                batch, now = engine.draw(state, data)
            gradient = engine.gradient(state, turn, batch, now)
            engine.move(state, turn.player, gradient)
            reports[turn.name] = gradient.report
        for name, gradient in ahead.items():
            engine.move(state, self.looks, gradient)
            reports[name] = gradient.report
        return {turn.name: reports[turn.name] for turn in due}

    def _gradient(
        self, state: State, engine: Engine, turn: Turn, others: list[Turn], batch: Batch, now: Now
    ) -> Gradient:
        """Of one turn's loss where the opponent is k steps on."""
        if not others:
            return engine.gradient(state, turn, batch, now)
        opponent = state.players[others[0].player]
        step = RULES.get(type(opponent.opt), plain)(opponent, self.lr or opponent.rate(now))
        values: Values = {w: w for w in opponent.weights}
        for _ in range(self.k):
            grads: list[Tensor | None] = [None] * len(opponent.weights)
            for other in others:
                found = engine.gradient(state, other, batch, now, create_graph=True, again=True, at=values)
                grads = add(grads, found.grads)
            values = {w: values[w] if g is None else step(w, values[w], g) for w, g in zip(opponent.weights, grads)}
        return engine.gradient(state, turn, batch, now, at=values)


Step = Callable[[nn.Parameter, Tensor, Tensor], Tensor]  # (weight, its value ahead, gradient there) -> the next value
TINY = 1e-24  # under it a second moment counts as constant: the slope of a root is infinite at 0


def plain(player: Player, lr: float) -> Step:
    """Gradient descent with the player's momentum, differentiable."""
    group = player.opt.param_groups[0]
    rate, decay = float(group.get("momentum", 0.0)), float(group.get("weight_decay", 0.0))
    moving: dict[nn.Parameter, Tensor] = {}

    def step(weight: nn.Parameter, value: Tensor, grad: Tensor) -> Tensor:
        grad = grad + decay * value if decay else grad
        if rate:
            if weight not in moving:
                moving[weight] = player.opt.state[weight].get("momentum_buffer", torch.zeros_like(grad)).clone()
            grad = moving[weight] = rate * moving[weight] + grad
        return _bounded(player, value - lr * grad)

    return step


def adam(player: Player, lr: float) -> Step:
    """Adam or AMSGrad from its current moments, differentiable."""
    group = player.opt.param_groups[0]
    (beta1, beta2), eps, decay = group["betas"], group["eps"], float(group["weight_decay"])
    kept: dict[nn.Parameter, tuple[Tensor, Tensor, Tensor, Tensor]] = {}

    def step(weight: nn.Parameter, value: Tensor, grad: Tensor) -> Tensor:
        grad = grad + decay * value if decay else grad
        if weight not in kept:
            now, zero = player.opt.state[weight], torch.zeros_like(grad)
            names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
            m, v, most = (now.get(name, zero).clone() for name in names)
            kept[weight] = m, v, most, torch.as_tensor(now.get("step", 0.0)).to(grad.dtype, copy=True)
        m, v, most, t = kept[weight]
        m, v, t = beta1 * m + (1 - beta1) * grad, beta2 * v + (1 - beta2) * grad.square(), t + 1
        most = torch.maximum(most, v) if group["amsgrad"] else v
        kept[weight] = m, v, most, t
        root = (most / (1 - beta2**t)).clamp(min=TINY).sqrt()
        return _bounded(player, value - lr * (m / (1 - beta1**t)) / (root + eps))

    return step


def rmsprop(player: Player, lr: float) -> Step:
    """RMSProp from its current moments, differentiable."""
    group = player.opt.param_groups[0]
    alpha, eps = group["alpha"], group["eps"]
    kept: dict[nn.Parameter, Tensor] = {}

    def step(weight: nn.Parameter, value: Tensor, grad: Tensor) -> Tensor:
        if weight not in kept:
            kept[weight] = player.opt.state[weight].get("square_avg", torch.zeros_like(grad)).clone()
        kept[weight] = v = alpha * kept[weight] + (1 - alpha) * grad.square()
        return _bounded(player, value - lr * grad / (v.clamp(min=TINY).sqrt() + eps))

    return step


RULES: dict[type[torch.optim.Optimizer], Callable[[Player, float], Step]] = {
    torch.optim.Adam: adam,
    torch.optim.RMSprop: rmsprop,
}


def _bounded(player: Player, value: Tensor) -> Tensor:
    if player.clip_weights is not None:
        value = value.clamp(-player.clip_weights, player.clip_weights)
    return value if player.max_norm is None or value.dim() < 2 else value * within(value, player.max_norm)
