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
from gantlet.games.arena import Arena, Played, built, separate
from gantlet.games.duel import Duel, Times
from gantlet.games.labels import told
from gantlet.games.mixture import InTurn, Mixture
from gantlet.tricks.beside import follow


class ManyWays(nn.Module):
    """A critic with K + 1 outputs l: how real (l_0 - log sum exp l_1..K, the log-odds) and by whom (l_1..K)."""

    def __init__(self, critic: nn.Module, ways: int) -> None:
        super().__init__()
        self.critic, self.outputs = widened(critic, 1 + ways), 1 + ways

    def forward(self, x: Tensor, *given: Tensor) -> Verdict:
        said = self.critic(x, *given)
        verdict = said if isinstance(said, Verdict) else Verdict(said)
        if verdict.logits.shape[1:] != (self.outputs,):
            shape = list(verdict.logits.shape)
            raise InputError(
                f"D: with {self.outputs} outputs it says {shape}, one row of them a sample is wanted; use mlp"
            )
        logits = verdict.logits.to(torch.promote_types(verdict.logits.dtype, torch.float32))
        who = logits[:, 1:]
        return verdict._replace(logits=logits[:, 0] - who.logsumexp(1), classes=who)


def widened(critic: nn.Module, outputs: int) -> nn.Module:
    """The critic with more outputs of its last linear layer, drawn as large as the one it had."""
    names = [name for name, m in critic.named_modules() if isinstance(m, nn.Linear) and m.out_features == 1]
    if not names:
        raise InputError(
            f"D: {type(critic).__name__} has no last linear layer with one output to widen; use mlp or cnn"
        )
    old = critic.get_submodule(names[-1])
    assert isinstance(old, nn.Linear)
    new = nn.Linear(old.in_features, outputs, bias=old.bias is not None)
    with torch.no_grad():
        nn.init.normal_(new.weight, std=float(old.weight.square().mean().sqrt()))
        if new.bias is not None:
            nn.init.zeros_(new.bias)
    follow(old, new)
    parent, _, name = names[-1].rpartition(".")
    setattr(critic.get_submodule(parent), name, new)
    return critic


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
            raise InputError("tricks: packed samples are of several generators at once, which mad-gan tells apart")
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
        _refuse(arena.tricks)
        mixture = Mixture([arena.dressed("G", net, spec) for net in nets])
        self.meet(arena, mixture, mixture.z_dim, d_steps=d_steps, g_steps=g_steps)

    def stage(self, batch: Batch, now: Now) -> Played:
        return self.arena.scene(batch, now, InTurn(self.G, first_of(now)), self.z_dim)


def _refuse(tricks: nn.ModuleDict) -> None:
    """InputError for what would put other fakes in the place of those whose generator is known."""
    if not isinstance(tricks["which"], Which):
        raise InputError("tricks.which: mad-gan has a part of this name already; give yours another label")
    for label, trick in tricks.items():
        if isinstance(trick, Trick) and trick.replaces_fakes:
            raise InputError(
                f"tricks.{label}: it shows D other fakes than were made, whose generator mad-gan does not know; "
                f"leave it out (tricks.{label}=null), or play gman or classic"
            )
