"""One generator against several critics, which are merged into one opinion of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.core.game import Loss, Spec
from gantlet.core.registry import Slot, game
from gantlet.games.arena import Arena, Merge, Played, built, separate
from gantlet.games.duel import Duel, Times
from gantlet.games.labels import told


def soft_mean(said: Tensor, sharpness: Tensor | float) -> Tensor:
    """sum_i w_i V_i, w = softmax(lambda V): the mean at lambda = 0, the largest at infinity (eq. 3)."""
    return (said * torch.softmax(sharpness * said, 0)).sum()


class Hardest(nn.Module):
    """The largest of G's losses: the harshest critic's."""

    couples_batch = True  # the largest of means is not the mean of the largest

    def forward(self, said: Tensor) -> Tensor:
        return said.amax()


class Softened(nn.Module):
    """`soft_mean` with a lambda that stays as it is."""

    couples_batch = True

    def __init__(self, sharpness: float) -> None:
        super().__init__()
        self.sharpness = sharpness

    def forward(self, said: Tensor) -> Tensor:
        return soft_mean(said, self.sharpness)


class Regulated(nn.Module):
    """`soft_mean` with a lambda that G moves, positive by a softplus."""

    couples_batch = True

    def __init__(self, sharpness: float) -> None:
        super().__init__()
        if sharpness == 0:
            raise InputError("sharpness 0: a learned one begins above zero; use sharpness=1, or merge=mean")
        self.before_softplus = nn.Parameter(torch.tensor(sharpness + math.log(-math.expm1(-sharpness))))

    @property
    def sharpness(self) -> Tensor:
        return F.softplus(self.before_softplus)

    def forward(self, said: Tensor) -> Tensor:
        return soft_mean(said, self.sharpness)


SHARPNESS, PUSH = 1.0, 0.001


def _refuse_idle(merge: str, sharpness: float, push: float) -> None:
    """InputError for a number that this merge does not read."""
    if sharpness != SHARPNESS and merge in ("mean", "max"):
        raise InputError(
            f"sharpness={sharpness:g}: merge={merge} has none; use merge=softmax or learned, or leave it out"
        )
    if push != PUSH and merge != "learned":
        raise InputError(f"push={push:g}: merge={merge} learns no sharpness; use merge=learned, or leave it out")


MERGES: dict[str, Callable[[float], Merge]] = {
    "mean": lambda sharpness: torch.mean,
    "max": lambda sharpness: Hardest(),
    "softmax": Softened,
    "learned": Regulated,
}


@game
class GMAN(Duel):
    """G against several critics of one make: min over G of sum_i w_i V(D_i, G), w = softmax(lambda V) (Durugkar, Gemp
    and Mahadevan 2017, eq. 3).

    V_i is G's loss under critic i, so a large one is a harsh critic. `merge`: the mean is GMAN-0, `max` GMAN-max,
    `softmax` GMAN-lambda, `learned` GMAN*, where G moves lambda too and is paid `push` lambda for raising it (eq. 7).
    """

    def __init__(
        self,
        spec: Spec,
        *,
        G: Annotated[Any, Slot("generator")],
        D: Annotated[Any, Slot("critic")],
        critics: Annotated[int, Field(ge=1, le=64)] = 3,
        merge: Literal["mean", "max", "softmax", "learned"] = "mean",
        sharpness: Annotated[float, Field(ge=0, le=1000)] = SHARPNESS,  # lambda; a learned one begins here
        push: Annotated[float, Field(ge=0)] = PUSH,  # the paper's c
        # the untampered objective: several critics seldom all saturate (section 3.3.2)
        adversarial: Annotated[Any, Slot("adversarial")] = {"use": "minimax"},  # noqa: B006 (read only)
        penalties: Annotated[Any, Slot("penalty", many=True)] = None,
        tricks: Annotated[Any, Slot("trick", many=True)] = None,
        d_steps: Times = 1,
        g_steps: Times = 1,
    ) -> None:
        super().__init__()
        _refuse_idle(merge, sharpness, push)
        spec = told(spec, conditional=False)
        net = built("generator", G, spec)
        arena = Arena(
            spec,
            critics=dict.fromkeys((f"D{i + 1}" for i in range(critics)), separate("D", D, critics)),
            adversarial=adversarial,
            penalties=penalties,
            tricks=tricks,
            merge=MERGES[merge](sharpness),
        )
        self.meet(arena, arena.dressed("G", net, spec), int(net.z_dim), d_steps=d_steps, g_steps=g_steps)  # type: ignore[arg-type]
        self.push = push

    def owns(self) -> dict[str, list[nn.Module]]:
        merge = self.arena.merge
        return {"D": [self.arena.critics], "G": [self.G, *([merge] if isinstance(merge, Regulated) else [])]}

    def g_wants(self, scene: Played) -> Loss:
        loss, merge = super().g_wants(scene), self.arena.merge
        if not isinstance(merge, Regulated):
            return loss
        sharpness = merge.sharpness
        terms, stats = {"push": -self.push * sharpness}, {"sharpness": sharpness}
        return replace(loss, terms={**loss.terms, **terms}, stats={**loss.stats, **stats})
