"""InfoGAN: latents that mean something, because a network reads them off the samples."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Verdict
from gantlet.core.errors import InputError
from gantlet.core.game import Game, Loss, Spec
from gantlet.core.registry import Slot, game
from gantlet.games.arena import Arena, Played, built, refuse_packs
from gantlet.games.codes import Coded, Codes, Information, bound
from gantlet.games.duel import Duel, Times
from gantlet.games.labels import told
from gantlet.games.widened import refuse_other_fakes

Ways = Annotated[int, Field(ge=2, le=10_000)]
Weight = Annotated[float, Field(ge=0)]


@game
class Info(Duel):
    """InfoGAN: min over G, Q of max over D, less the information that samples have of their codes,
    V(D, G) - lambda (E log Q(c | G(z, c)) + H(c)) (Chen et al. 2016).

    G's first latents are noise, the others its codes: K-way ones as one-hot numbers, then continuous ones in -1..1. A
    latent that is drawn is standard normal and says a code by one coordinate, so a sample follows from its latent. Q is
    a head on D's last features and learns with D, which the cost (`info`, in nats) trains too, as in the authors' code;
    G minimises the same cost. With `invariance` Q also learns on reals, without labels: its names of an image and of a
    slightly turned, stretched and moved copy are to say much of each other (term `info.invariance`, -w I(Q(x); Q(T(x)));
    Ji et al. 2019), so that the categorical codes are about what such changes leave as it is. `codes_of` says what Q
    takes a sample for; `generate(z, y)` makes the first code's kind y.
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
        invariance: Weight = 0.0,  # of images' categorical codes
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
        if invariance and not (codes.categorical and len(spec.shape) == 3):
            lacks = "samples are not images" if codes.categorical else "categorical is ()"
            raise InputError(
                f"invariance={invariance:g}: it is of the categorical codes of images, and {lacks} (samples of shape "
                f"{list(spec.shape)}); leave it at 0"
            )
        reads = Information(codes, weights=weights, invariance=invariance, std=std, hidden=q_hidden, slope=slope)
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
