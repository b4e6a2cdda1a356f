"""Several generators against one critic that also says which of them made a fake."""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Critics, Evidence, Verdict
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Spec
from gantlet.core.registry import Slot, game
from gantlet.core.trick import Given, Trick
from gantlet.core.when import Now
from gantlet.games.arena import Arena, Played, built, refuse_packs, separate
from gantlet.games.duel import Duel, Times
from gantlet.games.labels import told
from gantlet.games.mixture import InTurn, Mixture
from gantlet.games.widened import outputs_of, refuse_other_fakes, widened


class ManyWays(nn.Module):
    """A critic with K + 1 outputs l: how real (l_0 - log sum exp l_1..K, the log-odds) and by whom (l_1..K)."""

    def __init__(self, critic: nn.Module, ways: int) -> None:
        super().__init__()
        self.critic, self.outputs = widened(critic, 1 + ways), 1 + ways

    def forward(self, x: Tensor, *given: Tensor) -> Verdict:
        verdict = outputs_of(self.critic(x, *given), self.outputs)
        who = verdict.logits[:, 1:]
        return verdict._replace(logits=verdict.logits[:, 0] - who.logsumexp(1), classes=who)


def first_of(now: Now) -> int:
    """Row i is of generator (this + i) mod K: a batch too small for all of them gives each its turn, step by step."""
    return now.first + now.step


class Which(Trick):
    """D's share of telling the generators apart: cross-entropy of a fake's generator."""

    def __init__(self, generators: int) -> None:
        super().__init__()
        self.count = generators

    def dress(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
        return ManyWays(net, self.count) if role == "D" else net

    def latent(self, z: Tensor, given: Given, G: nn.Module, critics: Critics, now: Now) -> Tensor:
        """The last coordinate says what the row does, should somebody generate from this latent again."""
        middle = (self.numbers(len(z), now, z.device).to(z.dtype) + 0.5) / self.count
        return torch.cat([z[:, :-1], math.sqrt(2) * torch.erfinv(2 * middle - 1).unsqueeze(1)], 1)

    def numbers(self, rows: int, now: Now, device: torch.device) -> Tensor:
        """Which generator makes each row, int64 [rows]."""
        start = first_of(now)
        return torch.arange(start, start + rows, device=device) % self.count

    def d_terms(self, seen: Evidence) -> dict[str, Tensor]:
        wanted = self.numbers(len(seen.fake), seen.now, seen.fake.device)
        classes = [verdict.classes for verdict in seen.on_fake if verdict.classes is not None]
        if any(len(said) != len(wanted) for said in classes):
            raise InputError(
                "tricks: packed samples are of several generators at once, which mad-gan tells apart; leave out the trick "
                "that shows them together"
            )
        return {"": torch.stack([F.cross_entropy(said, wanted) for said in classes]).sum()}


@game.named("mad-gan")
class MADGAN(Duel):
    """K generators against a critic of K + 1 classes, real and one for each generator: D minimises its cross-entropy,
    every G wants to be taken for real (Ghosh et al. 2018).

    Of log-odds r of real, that cross-entropy is softplus(-r) on reals and softplus(r) + the cross-entropy of the
    generator on fakes (term `which`): with another `adversarial` pair on r, a game of another kind. Row i of step t is
    made by generator (i + t) mod K; a latent that is drawn has one more coordinate, which chooses (`Mixture`).
    """

    G: Mixture

    def __init__(
        self,
        spec: Spec,
        *,
        G: Annotated[Any, Slot("generator")],
        D: Annotated[Any, Slot("critic")],
        generators: Annotated[int, Field(ge=1, le=64)] = 4,
        adversarial: Annotated[Any, Slot("adversarial")] = {"use": "non-saturating"},  # noqa: B006 (read only)
        penalties: Annotated[Any, Slot("penalty", many=True)] = None,
        tricks: Annotated[Any, Slot("trick", many=True)] = None,
        d_steps: Times = 1,
        g_steps: Times = 1,
    ) -> None:
        super().__init__()
        spec = told(spec, conditional=False)
        nets = [built("generator", separate("G", G, generators), spec) for _ in range(generators)]
        arena = Arena(
            spec,
            critics={"D": D},
            adversarial=adversarial,
            penalties=penalties,
            tricks={"which": Which(generators), **(tricks or {})},
        )
        refuse_other_fakes(arena.tricks, "which", Which, "generator is")
        refuse_packs(arena, spec, "mad-gan", "generators")
        mixture = Mixture([arena.dressed("G", net, spec) for net in nets])
        self.meet(arena, mixture, mixture.z_dim, d_steps=d_steps, g_steps=g_steps)

    def stage(self, batch: Batch, now: Now) -> Played:
        return self.arena.scene(batch, now, InTurn(self.G, first_of(now)), self.z_dim)
