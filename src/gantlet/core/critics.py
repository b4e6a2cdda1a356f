"""One or many critics seen as one, and what a penalty may look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.making import said as told
from gantlet.core.when import Now


class Verdict(NamedTuple):
    """What one critic says of a batch."""

    logits: Tensor  # [N, ...]: a scalar, a patch map, a sequence
    features: Sequence[Tensor] = ()  # [N, ...] each, from input to output
    classes: Tensor | None = None  # [N, K] logits of which class, code or generator, where a critic says so


class Lens(Protocol):
    """What stands between a sample and the critics: noise, augmentation, packing."""

    def shown(self, x: Tensor, given: tuple[Tensor, ...], now: Now, side: str) -> tuple[Tensor, tuple[Tensor, ...]]: ...


class Critics(nn.Module):
    """One or many critics, seen through the same lenses; answers a list.

    A critic returns a `Verdict` or bare logits [N, ...]. Logits come back in at least float32, whatever the precision
    of the networks. All critics see the same view (one draw for x and image-like `given`), another one for each `side`
    ("real", "fake", ...) and each play (`now.play`), whose turns share it; a lens that packs m samples into one leaves
    N / m rows.
    """

    def __init__(self, critics: Mapping[str, nn.Module], *, lenses: Sequence[Lens] = ()) -> None:
        super().__init__()
        self.critics = nn.ModuleDict(critics)
        self.lenses = tuple(lenses)

    def forward(self, x: Tensor, *given: Tensor, now: Now = Now(), side: str = "") -> list[Verdict]:  # noqa: B008
        if self.lenses and not side:
            raise InputError(
                'critics behind lenses: say now= and side= ("real", "fake", ...); their noise goes by them'
            )
        for lens in self.lenses:
            x, given = lens.shown(x, given, now, side)
        return [_verdict(critic(x, *given)) for critic in self.critics.values()]


def _verdict(said: Verdict | Tensor) -> Verdict:
    verdict = said if isinstance(said, Verdict) else Verdict(said)
    if not isinstance(verdict.logits, Tensor):
        raise InputError(f"a critic answered {told(verdict.logits)}; it has to return logits [N, ...] or a Verdict")
    logits = verdict.logits
    return verdict._replace(logits=logits.to(torch.promote_types(logits.dtype, torch.float32)))


class Evidence(NamedTuple):
    """What a penalty or a trick sees of a turn."""

    critics: Critics
    real: Tensor  # [N, ...]; in the critics' turn, in steps where a penalty is due, both require grad and were
    fake: Tensor  # [N, ...]  differentiably asked about; a trick that wants slopes asks again
    given: tuple[Tensor, ...]
    on_real: list[Verdict]  # empty in a generator's turn whose loss does not look at reals
    on_fake: list[Verdict]
    now: Now
    z: Tensor | None = None  # [N, z] latents of the fakes
    G: nn.Module | None = None  # (z, *given) -> fakes

    def ask(self, x: Tensor, side: str) -> list[Verdict]:
        """The critics' verdicts on other samples, [N, ...] like real."""
        said: list[Verdict] = self.critics(x, *self.given, now=self.now, side=side)
        return said


Term = Callable[[Evidence], Tensor]  # a scalar, weighted
Cost = Callable[[Tensor], Tensor]  # elementwise on logits


class Adversarial(NamedTuple):
    """A loss is a pair of functions on logits; both are minimised."""

    d: Callable[[Tensor, Tensor], Tensor]  # (real, fake), equal shapes
    g: Callable[[Tensor, Tensor | None], Tensor]  # (fake, real)
    paired: bool = False  # capability: does g look at real?
    couples_batch: bool = False  # capability: does a row's loss depend on the other rows?
    ordered: bool = True  # capability: do D's turn and G's push logits one way, reals up and fakes down, fakes up?
    steepness_pays: bool = False  # capability: are logits twice as far apart always worth twice as much to D?
    of_energies: bool = False  # capability: has a logit to be minus an energy, at most 0? Critics whose is say `energy`
    # what a logit costs D under each label, where its loss is E as_real(D(x)) + E as_fake(D(G(z))): what labels need
    as_real: Cost | None = None
    as_fake: Cost | None = None
    state: nn.Module | None = None  # what it carries from step to step, in buffers


registry.adversarial.makes = Adversarial
for networks in (registry.generator, registry.critic, registry.encoder):
    networks.makes = nn.Module


def labelled(
    as_real: Cost, as_fake: Cost, g: Callable[[Tensor, Tensor | None], Tensor], state: nn.Module | None = None
) -> Adversarial:
    """The pair whose critic's loss is the mean cost of reals called real plus that of fakes called fake."""
    return Adversarial(
        d=lambda real, fake: as_real(real).mean() + as_fake(fake).mean(),
        g=g,
        as_real=as_real,
        as_fake=as_fake,
        state=state,
    )


def same_shape(real: Tensor, fake: Tensor) -> None:
    """A ValueError that names both shapes when they differ: broadcasting would hide it."""
    if real.shape != fake.shape:
        raise ValueError(f"real logits {tuple(real.shape)} and fake logits {tuple(fake.shape)} differ in shape")
