"""Bidirectional GANs: a critic of pairs, of samples with their codes and of codes with their samples."""

from __future__ import annotations

import inspect
import math
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from gantlet.core.critics import Adversarial, Verdict
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Game, Loss, Spec, Turn
from gantlet.core.registry import Slot, game, part_of
from gantlet.core.trick import unordered
from gantlet.core.when import Now
from gantlet.games.arena import Arena, Played, built
from gantlet.games.autoencoder import encoder_of
from gantlet.games.duel import Times
from gantlet.games.labels import told
from gantlet.games.vae import drawn
from gantlet.losses.penalties import raised


class OfPairs(nn.Module):
    """A critic of (x, z) that is given pairs as vectors [N, size of x + z]."""

    def __init__(self, critic: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.critic, self.shape = critic, shape

    def forward(self, pair: Tensor, *given: Tensor) -> Verdict | Tensor:
        size = math.prod(self.shape)
        said: Verdict | Tensor = self.critic(pair[:, :size].view(-1, *self.shape), pair[:, size:], *given)
        return said


class Made(nn.Module):
    """z -> (G(z), z) as a vector: what a critic of pairs takes for a fake."""

    def __init__(self, G: nn.Module) -> None:
        super().__init__()
        self.G = G

    def forward(self, z: Tensor, *given: Tensor) -> Tensor:
        return paired(self.G(z), z)


def paired(x: Tensor, z: Tensor) -> Tensor:
    """[N, ...] and [N, z] -> [N, size of x + z]"""
    dtype = torch.promote_types(x.dtype, z.dtype)
    return torch.cat([x.flatten(1).to(dtype), z.to(dtype)], 1)


def exchanged(pair: Adversarial) -> Adversarial:
    """The same for D; G and E minimise D's loss with the labels exchanged, so that both sides of it move.

    Of non-saturating: -E log D(G(z), z) - E log(1 - D(x, E(x))) (Donahue et al. 2017, section 3.4's inverse objective).
    """

    def g(fake: Tensor, real: Tensor | None) -> Tensor:
        assert real is not None  # a paired loss is given both
        return pair.d(fake, real)

    return pair._replace(g=g, paired=True)


@game
class BiGAN(Game):
    """D tells (x, E(x)) from (G(z), z); G and E, one player, make it err both ways: at the optimum E inverts G (Donahue,
    Krahenbuhl and Darrell 2017, eq. 3; ALI: Dumoulin et al. 2017, eq. 3).

    A pair is one vector to the arena, real or fake as a whole. Penalties therefore smooth D in x and z together, and
    tricks see pairs; those for images refuse. `stochastic`: E says mean and log variance and z is drawn (ALI). Losses
    under which a higher logit does not mean real, or that carry a state, are refused: exchanged labels undo nothing there.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        G: Annotated[Any, Slot("generator")],
        E: Annotated[Any, Slot("encoder")],
        D: Annotated[Any, Slot("critic")] = {"use": "joint"},  # noqa: B006 (read only)
        adversarial: Annotated[Any, Slot("adversarial")] = {"use": "non-saturating"},  # noqa: B006 (read only)
        stochastic: bool = False,
        penalties: Annotated[Any, Slot("penalty", many=True)] = None,
        tricks: Annotated[Any, Slot("trick", many=True)] = None,
        d_steps: Times = 1,
        g_steps: Times = 1,
    ) -> None:
        super().__init__()
        spec = told(spec, conditional=False)
        net = built("generator", G, spec)
        self.z_dim, self.stochastic = int(net.z_dim), stochastic  # type: ignore[arg-type]
        pairs = Spec((math.prod(spec.shape) + self.z_dim,), count=spec.count)

        def critic(seen: Spec) -> nn.Module:
            if seen.shape != pairs.shape:
                raise InputError(
                    f"tricks: D sees vectors of {list(seen.shape)}, a pair is one of {list(pairs.shape)}; leave packing out"
                )
            return critic_of(D, spec, self.z_dim)

        self.arena = Arena(
            pairs, critics={"D": critic}, adversarial=_pair(adversarial), penalties=penalties, tricks=tricks
        )
        self.G = self.arena.dressed("G", net, pairs)
        self.E = self.arena.dressed("E", encoder_of(E, spec, (1 + stochastic) * self.z_dim), spec)
        self.d_steps, self.g_steps = d_steps, g_steps

    def owns(self) -> dict[str, list[nn.Module]]:
        return {"D": [self.arena.critics], "GE": [self.G, self.E]}

    def turns(self) -> list[Turn]:
        return [
            Turn("D", "D", self.d_wants, times=self.d_steps),
            Turn("GE", "GE", self.ge_wants, times=self.g_steps),
        ]

    def stage(self, batch: Batch, now: Now) -> Played:
        scene = self.arena.scene(batch._replace(given=()), now, Made(self.G), self.z_dim)
        return scene._replace(real=paired(batch.x, self._code(batch.x, now)))

    def _code(self, x: Tensor, now: Now) -> Tensor:
        said: Tensor = self.E(x)
        if not self.stochastic:
            return said
        mean, log_variance = raised(said).chunk(2, 1)
        return drawn(mean, log_variance, now, "ali")

    def stagers(self) -> list[nn.Module]:
        return [self.G, self.E, *self.arena.stagers]

    def d_wants(self, scene: Played) -> Loss:
        """Tell samples with their codes from codes with their samples."""
        return self.arena.d_wants(scene, Made(self.G))

    def ge_wants(self, scene: Played) -> Loss:
        """Have either taken for the other."""
        return self.arena.g_wants(scene, Made(self.G))

    def generate(self, z: Tensor, *given: Tensor) -> Tensor:
        made: Tensor = self.G(z)
        return made

    def encode(self, x: Tensor) -> Tensor:
        """Samples -> codes [N, z_dim]; of a stochastic encoder the mean."""
        said: Tensor = self.E(x)
        return said.chunk(2, 1)[0] if self.stochastic else said

    def made_of(self) -> dict[str, nn.Module]:
        return {"G": self.G, "E": self.E}


def critic_of(D: Any, spec: Spec, z: int) -> nn.Module:
    """A critic of pairs as vectors: one that takes (x, z), or one of plain vectors (mlp, maxout)."""
    made: nn.Module = D if isinstance(D, nn.Module) else part_of("critic", D)(spec._replace(given=((z,),)))
    if takes_codes(made):
        return OfPairs(made, spec.shape)
    if isinstance(D, nn.Module):
        return made
    try:
        return built("critic", D, Spec((math.prod(spec.shape) + z,), count=spec.count))
    except InputError as error:
        raise InputError(f"D: {type(made).__name__} does not take codes beside samples; use joint or mlp") from error


def takes_codes(net: nn.Module) -> bool:
    """Does its forward want something beside the sample? What may be left out, as y=None, is a class."""
    _, *beside = inspect.signature(net.forward).parameters.values()
    return any(p.kind is p.VAR_POSITIONAL or p.default is p.empty for p in beside)


def _pair(part: Any) -> Adversarial:
    found = part_of("adversarial", part)
    pair: Adversarial = found if isinstance(found, Adversarial) else found()
    why = unordered(pair) or ("it carries a state, which one player's turn would move twice" if pair.state else None)
    if why is not None:
        raise InputError(f"adversarial: bigan exchanges the labels of D's loss for G and E, but {why}")
    return exchanged(pair)
