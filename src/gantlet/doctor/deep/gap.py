"""The duality gap: how much either side could still gain if the other stood still."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Data, Turn
from gantlet.core.noise import normal
from gantlet.core.state import State
from gantlet.core.when import Now, at
from gantlet.doctor.deep.imagined import imagined

LOOKS = 5  # at the objective on the way: the best of them counts, so that a player that runs too far is stopped in time
MOST = 1024  # held-out rows that the objective is measured on


@dataclass(frozen=True)
class DualityGap:
    """max over D' of M(G, D') less min over G' of M(G', D), of what k steps find; M is what the critic's loss falls by.

    Both parts are at least 0: a player may stay where it is.
    """

    objective: float  # M(G, D) on held-out rows, in the units of the critic's loss
    critic: float  # what the critic gains alone
    generator: float  # what the other players gain alone
    steps: int
    rows: int

    @property
    def value(self) -> float:
        """0 where nobody gains by moving alone."""
        return self.critic + self.generator

    def __str__(self) -> str:
        more = "the critic" if self.critic > self.generator else "the generator"
        whose = f", most of it {more}'s to gain" if self.value > 0 else ""
        return (
            f"Duality gap {self.value:.3g}{whose}: alone, in {self.steps} steps, the critic would gain {self.critic:.3g} "
            f"and the generator {self.generator:.3g} (critic's loss on {self.rows:,} held-out rows: {-self.objective:.3g}). "
            "It is 0 where neither can improve on its own."
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "duality_gap": self.value,
            "critic_gains": self.critic,
            "generator_gains": self.generator,
            "critic_loss": -self.objective,
            "steps": self.steps,
            "rows": self.rows,
        }


def duality_gap(
    state: State,
    data: Data,
    held: Batch,
    *,
    rows: int,  # of a batch, as in training
    critic: str | None = None,  # its turn; None: the one that shows logits of real and fake
    steps: int = 250,  # for each side: as the authors'
    sigma: float = 0.1,
    seed: int = 0,
) -> DualityGap:
    """The perturbed duality gap (Grnarova et al. 2019; Sidheekh et al. 2021, "On duality gap as a measure for monitoring GAN
    training").

    Each side plays `steps` of its own steps alone, on `data`, from weights with noise added: without it a saddle that is no
    equilibrium cannot be left. The noise is `sigma` times the root mean square of each weight tensor, so that it means the
    same in networks of any scale. M is the adversarial term of the critic's loss, negated, on `held` (a batch as the game
    reads it, with labels where it reads those). Learning rates are the highest so far: a schedule that ends at zero would
    show no gap. A critic that its penalty holds down gains little alone: a small gap with a strong penalty says nothing.
    The training is as it was afterwards.
    """
    device = next(state.game.parameters()).device
    engine = Engine(device=device, batch=rows)
    with imagined(state) as view:
        turn = _critic(view, engine, held, critic)
        now = _measure(view, turn, held, rows)
    others = [name for name in state.players if name != turn.player]
    if not others:
        raise InputError(f"{type(state.game).__name__} has one player, {turn.player!r}: a duality gap is between two")
    best = {}
    for side, movers in ((1, [turn.player]), (-1, others)):
        with imagined(state) as view:
            _perturb(view, movers, sigma, seed)
            seen = list(_alone(view, engine, data, turn, movers, held, steps, rows))
        best[side] = max([side * m for m in (now, *seen) if math.isfinite(m)], default=math.nan)
    return DualityGap(now, best[1] - now, now + best[-1], steps, min(MOST, len(held.x)))


def _alone(
    view: State, engine: Engine, data: Data, turn: Turn, movers: list[str], held: Batch, steps: int, rows: int
) -> Iterable[float]:
    """M after each share of the steps that these players take while the others stand still."""
    for name in movers:
        view.players[name].lr = _highest(view, name)
    before = view.now
    for k in range(1, steps + 1):
        batch, now = engine.draw(view, data)
        for due in view.turns:
            if due.player in movers and due.when(now):
                engine.move(view, due.player, engine.gradient(view, due, batch, now))
        view.now = view.now._replace(step=view.now.step + 1, play=0)
        if k * LOOKS // steps > (k - 1) * LOOKS // steps:
            on, view.now = view.now, before
            yield _measure(view, turn, held, rows)
            view.now = on


def _measure(view: State, turn: Turn, held: Batch, rows: int) -> float:
    """M on held-out rows, with the same latents every time; whole batches, which start over where rows are few."""
    n = min(MOST, len(held.x))
    count = max(1, n // rows)
    said: list[Tensor] = []
    with imagined(view) as still:
        engine = Engine(device=held.x.device, batch=rows)
        for k in range(count):
            place = torch.arange(k * rows, (k + 1) * rows, device=held.x.device) % n
            now = still.now._replace(first=k * rows)
            report = engine.gradient(still, turn, _rows(held, place), now).report
            said.append(report.terms.get(turn.name, torch.stack(list(report.terms.values())).sum()))
    return -float(torch.stack(said).mean())


def _critic(view: State, engine: Engine, held: Batch, named: str | None) -> Turn:
    """The critic's turn."""
    if named is not None:
        found = next((turn for turn in view.turns if turn.name == named), None)
        if found is None:
            raise InputError(f"no turn {named!r}; this game has: {', '.join(turn.name for turn in view.turns)}")
        return found
    engine.needs = frozenset({"views"})
    rows = torch.arange(engine.rows, device=held.x.device) % len(held.x)
    for turn in view.turns:
        engine.forget()
        if {"on_real", "on_fake"} <= engine.gradient(view, turn, _rows(held, rows), view.now).report.views.keys():
            engine.needs = frozenset()
            return turn
    raise InputError(
        f"{type(view.game).__name__}: no turn shows a critic's logits of real and fake, so there is no duality gap"
    )


def _rows(batch: Batch, index: Tensor) -> Batch:
    def pick(t: Tensor | None) -> Tensor | None:
        return None if t is None else t[index]

    return Batch(batch.x[index], pick(batch.y), tuple(g[index] for g in batch.given), pick(batch.index))


def _highest(view: State, name: str) -> float:
    """The highest learning rate of a player's schedule so far."""
    lr, last = view.players[name].lr, view.now.step
    return max(at(lr, Now(step=last * i // 8)) for i in range(9))


@torch.no_grad()
def _perturb(view: State, movers: list[str], sigma: float, seed: int) -> None:
    for name in movers:
        for k, weight in enumerate(view.players[name].weights):
            key = (seed, "perturbed", name, k)
            noise = normal((weight.numel(),), 1, key=key, device=weight.device)[0].view_as(weight).to(weight.dtype)
            weight.add_(sigma * weight.square().mean().sqrt() * noise)
