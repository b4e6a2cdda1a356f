"""One generator between two critics of which one rewards reals and the other fakes."""

from __future__ import annotations

from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from gantlet.core.critics import Adversarial, labelled
from gantlet.core.game import Spec
from gantlet.core.registry import Slot, game
from gantlet.games.arena import Arena, built, separate
from gantlet.games.duel import Duel, Times
from gantlet.games.labels import told

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
class D2GAN(Duel):
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
        spec = told(spec, conditional=False)
        net = built("generator", G, spec)
        arena = Arena(
            spec,
            critics=dict.fromkeys(("D1", "D2"), separate("D", D, 2)),
            adversarial={"D1": rewards_reals(alpha), "D2": rewards_fakes(beta)},
            penalties=penalties,
            tricks=tricks,
            merge=torch.sum,
        )
        self.meet(arena, arena.dressed("G", net, spec), int(net.z_dim), d_steps=d_steps, g_steps=g_steps)  # type: ignore[arg-type]
