"""Codes that a generator is told and a head of the critic reads: what they are, who says them, what reading costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantlet.core.critics import Evidence, Verdict
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.trick import Trick
from gantlet.games.invariance import mutual, slightly


class Codes(NamedTuple):
    """Which codes there are: the K of each categorical one, and how many continuous ones."""

    categorical: tuple[int, ...]
    continuous: int

    @property
    def width(self) -> int:
        """Numbers they take where a generator reads them, and where Q answers."""
        return sum(self.categorical) + self.continuous

    @property
    def latents(self) -> int:
        """Coordinates of a standard normal latent that say them: its last."""
        return self.continuous + len(self.categorical)

    @property
    def entropy(self) -> float:
        """Of the categorical codes, in nats."""
        return math.fsum(math.log(k) for k in self.categorical)

    def values(self, z: Tensor) -> Tensor:
        """The continuous codes of latents [N, z], uniform in -1..1: 2 Phi(c) - 1. [N, continuous]"""
        end = z.shape[1] - len(self.categorical)
        return torch.erf(z[:, end - self.continuous : end] / math.sqrt(2))

    def kinds(self, z: Tensor) -> list[Tensor]:
        """The categorical codes of latents [N, z], uniform in 0..K-1: floor(K Phi(c)). int64 [N] each"""
        shares = 0.5 * (1 + torch.erf(z[:, z.shape[1] - len(self.categorical) :] / math.sqrt(2)))
        return [(k * shares[:, i]).long().clamp(0, k - 1) for i, k in enumerate(self.categorical)]

    def parts(self, said: Tensor) -> tuple[list[Tensor], Tensor]:
        """What Q says [N, width], in at least float32: the logits [N, K] of each categorical code, then the means."""
        said = said.to(torch.promote_types(said.dtype, torch.float32))
        *logits, means = torch.split(said, [*self.categorical, self.continuous], dim=1)
        return logits, means


class Coded(nn.Module):
    """A generator told its codes: latents [N, noise + codes] become noise, one-hot and continuous codes for the net.

    `(z, y int64 [N])` makes what is asked for: y is the first categorical code. Without it the latent chooses.
    """

    def __init__(self, net: nn.Module, z_dim: int, codes: Codes) -> None:
        super().__init__()
        if z_dim <= codes.width:
            raise InputError(
                f"G.z={z_dim}: the codes are {codes.width} of the generator's latents and noise the rest; use at least "
                f"{codes.width + 1}, or fewer codes"
            )
        self.net, self.codes, self.noise = net, codes, z_dim - codes.width
        self.z_dim = self.noise + codes.latents
        self.fixed_latents = codes.latents  # what moves latents leaves what they mean alone

    def told(self, noise: Tensor, kinds: Sequence[Tensor], values: Tensor) -> Tensor:
        """What the net makes of noise [N, noise], categorical codes (int64 [N] each) and continuous ones [N, c]."""
        ways = zip(kinds, self.codes.categorical, strict=True)
        hot = [(kind.unsqueeze(1) == torch.arange(k, device=noise.device)).to(noise) for kind, k in ways]
        made: Tensor = self.net(torch.cat([noise, *hot, values], 1))
        return made

    def forward(self, z: Tensor, *given: Tensor) -> Tensor:
        kinds = self.codes.kinds(z)
        return self.told(z[:, : self.noise], [*given[:1], *kinds[len(given[:1]) :]], self.codes.values(z))


class Headed(nn.Module):
    """A critic that also answers `outputs` numbers: a hidden layer and a linear one on its last features.

    They are the verdict's `classes` [N, outputs]. The hidden layer is normalised over the batch where the critic is:
    one that judges rows alone goes on doing so.
    """

    def __init__(self, critic: nn.Module, spec: Spec, outputs: int, *, hidden: int, slope: float = 0.1) -> None:
        super().__init__()
        self.critic = critic
        normal = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in critic.modules())
        norm = [nn.BatchNorm1d(hidden)] if normal else []
        reads = nn.Linear(features_of(critic, spec), hidden, bias=not normal)
        self.head = nn.Sequential(reads, *norm, nn.LeakyReLU(slope), nn.Linear(hidden, outputs))

    def forward(self, x: Tensor, *given: Tensor) -> Verdict:
        said: Verdict = self.critic(x, *given)
        return said._replace(classes=self.head(said.features[-1].flatten(1)))


def features_of(critic: nn.Module, spec: Spec) -> int:
    """How many numbers a critic's last features are of one sample, found by showing it two; its statistics stay."""
    weight = next(critic.parameters())
    training = critic.training
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        said = critic.eval()(torch.zeros(2, *spec.shape, dtype=weight.dtype, device=weight.device))
    critic.train(training)
    if not isinstance(said, Verdict) or not said.features:
        raise InputError(
            f"D: {type(critic).__name__} shows no features, which Q reads; use mlp, cnn or dcgan, or return "
            "Verdict(logits, features) from your own"
        )
    return said.features[-1][0].numel()


def categorical_cost(logits: Sequence[Tensor], kinds: Sequence[Tensor]) -> Tensor:
    """-E log Q(c | x), summed over categorical codes: their entropy less this is at most I(c; x). A scalar"""
    return torch.stack([F.cross_entropy(said, kind) for said, kind in zip(logits, kinds, strict=True)]).sum()


def bound(cost: Tensor, codes: Codes) -> Tensor:
    """H(c) - cost, at most I(c; x) of the categorical codes, in nats (Barber and Agakov 2003)."""
    return codes.entropy - cost


def continuous_cost(means: Tensor, values: Tensor, std: float) -> Tensor:
    """-E log N(c; mean, std), summed over continuous codes. A scalar"""
    gaps = (values - means).square() / (2 * std**2)
    return (gaps + math.log(std * math.sqrt(2 * math.pi))).sum(1).mean()


class Information(Trick):
    """What Q costs: both players minimise it on fakes. Terms `info`, `info.continuous`, and D's `info.invariance`."""

    def __init__(
        self,
        codes: Codes,
        *,
        weights: tuple[float, float],
        invariance: float,
        std: float,
        hidden: int,
        slope: float,
    ) -> None:
        super().__init__()
        self.codes, self.weights, self.std, self.hidden, self.slope = codes, weights, std, hidden, slope
        self.invariance = invariance
        self.couples_batch = invariance > 0

    def dress(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
        return Headed(net, spec, self.codes.width, hidden=self.hidden, slope=self.slope) if role == "D" else net

    def d_terms(self, seen: Evidence) -> dict[str, Tensor]:
        terms = self._terms(seen)
        if self.invariance:
            terms["invariance"] = -self.invariance * self._kept(seen)
        return terms

    def _kept(self, seen: Evidence) -> Tensor:
        """What Q's names of reals say of its names of slightly changed ones, in nats, summed over categorical codes."""
        (said,), (again,) = seen.on_real, seen.ask(slightly(seen.real, seen.now, "invariance"), "real")
        assert said.classes is not None and again.classes is not None
        pairs = zip(self.codes.parts(said.classes)[0], self.codes.parts(again.classes)[0], strict=True)
        return torch.stack([mutual(one, two) for one, two in pairs]).sum()

    def g_terms(self, seen: Evidence) -> dict[str, Tensor]:
        return self._terms(seen)

    def _terms(self, seen: Evidence) -> dict[str, Tensor]:
        (said,), z = [verdict.classes for verdict in seen.on_fake], seen.z
        assert said is not None and z is not None
        logits, means = self.codes.parts(said)
        kinds, values = self.codes.kinds(z), self.codes.values(z).to(means.dtype)
        terms = {}
        if kinds:
            terms[""] = self.weights[0] * categorical_cost(logits, kinds)
        if self.codes.continuous:
            terms["continuous"] = self.weights[1] * continuous_cost(means, values, self.std)
        return terms
