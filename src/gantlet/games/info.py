"""InfoGAN: latents that mean something, because a network reads them off the samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Evidence, Verdict
from gantlet.core.errors import InputError
from gantlet.core.game import Game, Loss, Spec
from gantlet.core.registry import Slot, game
from gantlet.core.trick import Trick
from gantlet.games.arena import Arena, Played, built, refuse_packs
from gantlet.games.duel import Duel, Times
from gantlet.games.labels import told
from gantlet.games.widened import refuse_other_fakes

Ways = Annotated[int, Field(ge=2, le=10_000)]
Weight = Annotated[float, Field(ge=0)]


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
    """What Q costs: both players minimise it on fakes. Term `info`, and `info.continuous`."""

    def __init__(self, codes: Codes, *, weights: tuple[float, float], std: float, hidden: int, slope: float) -> None:
        super().__init__()
        self.codes, self.weights, self.std, self.hidden, self.slope = codes, weights, std, hidden, slope

    def dress(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
        return Headed(net, spec, self.codes.width, hidden=self.hidden, slope=self.slope) if role == "D" else net

    def d_terms(self, seen: Evidence) -> dict[str, Tensor]:
        return self._terms(seen)

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


@game
class Info(Duel):
    """InfoGAN: min over G, Q of max over D, less the information that samples have of their codes,
    V(D, G) - lambda (E log Q(c | G(z, c)) + H(c)) (Chen et al. 2016).

    G's first latents are noise, the others its codes: K-way ones as one-hot numbers, then continuous ones in -1..1. A
    latent that is drawn is standard normal and says a code by one coordinate, so a sample follows from its latent. Q is
    a head on D's last features and learns with D, which the cost (`info`, in nats) trains too, as in the authors' code;
    G minimises the same cost. `codes_of` says what Q takes a sample for; `generate(z, y)` makes the first code's kind y.
    """

    G: Coded

    def __init__(
        self,
        spec: Spec,
        *,
        G: Annotated[Any, Slot("generator")],
        D: Annotated[Any, Slot("critic")],
        categorical: Annotated[tuple[Ways, ...], Field(max_length=64)] = (10,),  # K of each code
        continuous: Annotated[int, Field(ge=0, le=1024)] = 2,
        weights: tuple[Weight, Weight] = (1.0, 0.1),  # lambda: a density costs more nats than a choice
        std: Annotated[float, Field(gt=0)] = 0.3,  # of a continuous code about Q's mean; 0.1 / std^2 is theirs, 1
        q_hidden: Annotated[int, Field(ge=1)] = 128,
        slope: Annotated[float, Field(ge=0)] = 0.1,  # of Q's rectifier, below zero
        adversarial: Annotated[Any, Slot("adversarial")] = {"use": "non-saturating"},  # noqa: B006 (read only)
        penalties: Annotated[Any, Slot("penalty", many=True)] = None,
        tricks: Annotated[Any, Slot("trick", many=True)] = None,
        d_steps: Times = 1,
        g_steps: Times = 1,
    ) -> None:
        super().__init__()
        codes = Codes(tuple(categorical), continuous)
        if not codes.width:
            raise InputError("categorical=() and continuous=0: there is no code; use at least one, or the game classic")
        spec = told(spec, conditional=False)
        net = built("generator", G, spec)
        reads = Information(codes, weights=weights, std=std, hidden=q_hidden, slope=slope)
        arena = Arena(
            spec,
            critics={"D": D},
            adversarial=adversarial,
            penalties=penalties,
            tricks={"info": reads, **(tricks or {})},
        )
        refuse_other_fakes(arena.tricks, "info", Information, "codes are")
        refuse_packs(arena, spec, "info", "codes")
        z_dim: int = net.z_dim  # type: ignore[assignment]
        coded = Coded(_dressed(arena, net, spec), int(z_dim), codes)
        self.meet(arena, coded, coded.z_dim, d_steps=d_steps, g_steps=g_steps)
        self.classes = codes.categorical[0] if codes.categorical else 0
        self.weight = weights[0]

    def d_wants(self, scene: Played) -> Loss:
        """What D and Q want; `information` is the bound on I(c; x) of the categorical codes, in nats."""
        loss = self.arena.d_wants(scene, self.G)
        if not (self.classes and self.weight):
            return loss
        return replace(loss, stats={**loss.stats, "information": bound(loss.terms["info"] / self.weight, self.G.codes)})

    def made_of(self) -> dict[str, nn.Module]:
        """Q, with the critic it is a head of, beside G: a saved model can name codes."""
        return {"G": self.G, "Q": self.arena.critics.critics["D"]}

    def classes_of(self, z: Tensor) -> Tensor | None:
        return self.G.codes.kinds(z)[0] if self.classes else None

    def read(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """What Q says of samples: the logits [N, K] of each categorical code, the means [N, c] of the continuous."""
        said: Verdict = self.arena.critics.critics["D"](x)
        assert said.classes is not None
        return self.G.codes.parts(said.classes)

    def codes_of(self, x: Tensor) -> Tensor:
        """The logits [N, K] of the first categorical code of samples."""
        return self.read(x)[0][0]


def _dressed(arena: Arena, net: nn.Module, spec: Spec) -> nn.Module:
    """The generator as the tricks want it; InputError for one that feeds it latents of its own, where it reads codes."""
    for label, trick in arena.ordered:
        after = trick.dress("G", net, spec)
        if after is not net:
            raise InputError(
                f"tricks.{label}: it puts latents of its own before G, which reads one-hot codes here; leave it out, or "
                "give it role=D where it has one"
            )
    return net


@torch.no_grad()
def traversal(
    model: Game,
    *,
    code: int = 0,
    categorical: int = 0,
    columns: int = 10,
    span: float = 2.0,
    seed: int = 0,
) -> Tensor:
    """One noise under many codes: float32 [rows * columns, *shape], images in -1..1, row by row.

    A row is a value of the categorical code number `categorical` (one row where there is none), a column a value of the
    continuous code number `code`, evenly from -span to span: 1 is as far as training goes, 2 shows what it meant (Chen
    et al. 2016, figure 2). Without continuous codes a column is another noise. InputError for a game without codes.
    """
    if not isinstance(model, Info):
        raise InputError(
            f"a traversal is of codes, and {type(model).__name__.lower()} has none; train the recipe infogan"
        )
    G, (kinds, values) = model.G, model.G.codes
    for name, asked, there in (("code", code, values), ("categorical", categorical, len(kinds))):
        if not 0 <= asked < max(1, there):
            raise InputError(f"{name}={asked}: the game has {there}, counted from 0")
    rows = kinds[categorical] if kinds else 1
    z = model.latent(1 if values else columns, seed=seed).repeat(rows * columns if values else rows, 1)
    at_code, row = G.codes.values(z).clone(), torch.arange(rows, device=z.device).repeat_interleave(columns)
    if values:
        at_code[:, code] = torch.linspace(-span, span, columns, device=z.device).repeat(rows)
    chosen = G.codes.kinds(z)
    if kinds:
        chosen[categorical] = row
    training = G.training
    made = G.eval().told(z[:, : G.noise], chosen, at_code).float().cpu()
    G.train(training)
    return made.clamp(-1, 1) if made.dim() == 4 else made
