"""One generator between two critics of which one rewards reals and the other fakes."""

from __future__ import annotations

from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Adversarial, labelled
from gantlet.core.game import Batch, Game, Loss, Spec, Turn
from gantlet.core.registry import Slot, game
from gantlet.core.when import Now
from gantlet.games.arena import Arena, Played, built, separate
from gantlet.games.classic import Times

FAR = -15.0  # under this logit softplus(v) is exp(v) (1 - exp(v) / 2) to float64's precision

Share = Annotated[float, Field(gt=0, le=1)]


def log_softplus(v: Tensor) -> Tensor:
    """log softplus(v), also where softplus(v) rounds to zero."""
    low, high = v.clamp(max=FAR), v.clamp(min=FAR)
    return torch.where(v < FAR, low - 0.5 * low.exp(), F.softplus(high).log())


def rewards_reals(alpha: float) -> Adversarial:
    """D1 = softplus(v) maximises alpha E log D1(x) - E D1(G(z)), at alpha p/q; G lowers -E D1(G(z))."""
    return labelled(lambda real: -alpha * log_softplus(real), F.softplus, lambda fake, real: -F.softplus(fake).mean())


def rewards_fakes(beta: float) -> Adversarial:
    """D2 = softplus(v) maximises beta E log D2(G(z)) - E D2(x), at beta q/p; G lowers beta E log D2(G(z))."""
    pair = labelled(
        F.softplus, lambda fake: -beta * log_softplus(fake), lambda fake, real: beta * log_softplus(fake).mean()
    )
    return pair._replace(ordered=False)  # it pushes reals down and fakes up


@game
class D2GAN(Game):
    """min over G of max over D1, D2 of alpha E log D1(x) - E D1(G(z)) - E D2(x) + beta E log D2(G(z)), at the optimum
    alpha KL(p || q) + beta KL(q || p) and a constant (Nguyen et al. 2017).

    Both critics are of one make; scores are positive by a softplus of the logit.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        G: Annotated[Any, Slot("generator")],
        D: Annotated[Any, Slot("critic")],
        alpha: Share = 0.1,  # weighs KL(p || q), which wants every mode covered
        beta: Share = 0.1,  # weighs KL(q || p), which wants every sample good; small values tame log D2's slope
        penalties: Annotated[Any, Slot("penalty", many=True)] = None,
        tricks: Annotated[Any, Slot("trick", many=True)] = None,
        d_steps: Times = 1,
        g_steps: Times = 1,
    ) -> None:
        super().__init__()
        net = built("generator", G, spec)
        self.z_dim = int(net.z_dim)  # type: ignore[arg-type]
        self.arena = Arena(
            spec,
            critics=dict.fromkeys(("D1", "D2"), separate("D", D, 2)),
            adversarial={"D1": rewards_reals(alpha), "D2": rewards_fakes(beta)},
            penalties=penalties,
            tricks=tricks,
            merge=torch.sum,
        )
        self.G = self.arena.dressed("G", net, spec)
        self.d_steps, self.g_steps = d_steps, g_steps

    def owns(self) -> dict[str, list[nn.Module]]:
        return {"D": [self.arena.critics], "G": [self.G]}

    def turns(self) -> list[Turn]:
        return [
            Turn("D", "D", self.d_wants, times=self.d_steps),
            Turn("G", "G", self.g_wants, times=self.g_steps),
        ]

    def d_wants(self, scene: Played) -> Loss:
        return self.arena.d_wants(scene, self.G)

    def g_wants(self, scene: Played) -> Loss:
        return self.arena.g_wants(scene, self.G)

    def made_of(self) -> dict[str, nn.Module]:
        return {"G": self.G}

    def stagers(self) -> list[nn.Module]:
        return [self.G, *self.arena.stagers]

    def stage(self, batch: Batch, now: Now) -> Played:
        return self.arena.scene(batch, now, self.G, self.z_dim)

    def generate(self, z: Tensor, *given: Tensor) -> Tensor:
        fake: Tensor = self.G(z, *given)
        return fake
