"""The adversarial autoencoder: an autoencoder whose codes a critic takes for the prior's."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Game, Loss, Spec, Turn
from gantlet.core.noise import normal
from gantlet.core.registry import Slot, game
from gantlet.core.trick import Trick
from gantlet.core.when import Now
from gantlet.games.arena import Arena, Played, built
from gantlet.games.autoencoder import ERRORS, encoder_of
from gantlet.games.duel import Times
from gantlet.games.labels import told
from gantlet.losses.penalties import raised


class Coded(NamedTuple):
    """What all players see: images, and their codes as fakes beside draws of the prior as reals."""

    now: Now
    images: Tensor
    codes: Played


@game
class AAE(Game):
    """AE moves E and G to restore x, D tells draws of the prior from codes E(x), E makes codes that D takes for draws:
    min over E, G of E |x - G(E(x))|^2 and min over E of max over D on codes (Makhzani et al. 2016, section 2).

    The codes' critic sits in an arena: its losses, penalties and tricks are those of any game, on vectors [z_dim]; real
    is the prior, fake a code. E has two optimisers, AE's and E's, as in the paper, and their rates are the balance between
    restoring and pleasing D: a weight on either loss is nothing to Adam. What concerns a generator's latents or
    makes images of them is refused: behind a code is a sample, not a latent.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        G: Annotated[Any, Slot("generator")],
        E: Annotated[Any, Slot("encoder")],
        D: Annotated[Any, Slot("critic")] = {"use": "mlp", "hidden": [1000, 1000]},  # noqa: B006 (read only)
        error: Literal["squared", "absolute", "bernoulli"] = "squared",
        adversarial: Annotated[Any, Slot("adversarial")] = {"use": "non-saturating"},  # noqa: B006 (read only)
        penalties: Annotated[Any, Slot("penalty", many=True)] = None,
        tricks: Annotated[Any, Slot("trick", many=True)] = None,
        d_steps: Times = 1,
    ) -> None:
        super().__init__()
        spec = told(spec, conditional=False)
        self.G = built("generator", G, spec)
        self.z_dim = int(self.G.z_dim)  # type: ignore[arg-type]
        codes = Spec((self.z_dim,), count=spec.count)
        self.arena = Arena(codes, critics={"D": D}, adversarial=adversarial, penalties=penalties, tricks=tricks)
        refuse_latents(self.arena)
        self.E = self.arena.dressed("E", encoder_of(E, spec, self.z_dim), spec)
        self.error, self.d_steps = ERRORS[error], d_steps

    def owns(self) -> dict[str, list[nn.Module]]:
        return {"AE": [self.E, self.G], "D": [self.arena.critics], "E": [self.E]}

    def turns(self) -> list[Turn]:
        return [
            Turn("AE", "AE", self.ae_wants),
            Turn("D", "D", self.d_wants, times=self.d_steps),
            Turn("E", "E", self.e_wants),
        ]

    def stage(self, batch: Batch, now: Now) -> Coded:
        key = (now.seed, now.step, now.play, "prior")
        prior = normal((self.z_dim,), len(batch.x), key=key, first=now.first, device=batch.x.device)
        return Coded(now, batch.x, Played(now, prior.to(batch.x.dtype), self.E(batch.x)))

    def stagers(self) -> list[nn.Module]:
        return [self.E, *self.arena.stagers]

    def ae_wants(self, scene: Coded) -> Loss:
        """Restore every image from its code."""
        back = self.G(scene.codes.fake)
        error = self.error(raised(scene.images), raised(back), 1.0).mean()
        return Loss({"reconstruction": error}, views={"real": scene.images, "fake": back})

    def d_wants(self, scene: Coded) -> Loss:
        """Tell draws of the prior from codes."""
        return self.arena.d_wants(scene.codes, self.E)

    def e_wants(self, scene: Coded) -> Loss:
        """Have codes taken for draws of the prior."""
        return self.arena.g_wants(scene.codes, self.E)

    def generate(self, z: Tensor, *given: Tensor) -> Tensor:
        made: Tensor = self.G(z)
        return made

    def encode(self, x: Tensor) -> Tensor:
        """Samples -> codes [N, z_dim]."""
        code: Tensor = self.E(x)
        return code

    def made_of(self) -> dict[str, nn.Module]:
        return {"G": self.G, "E": self.E}


def refuse_latents(arena: Arena) -> None:
    """InputError for tricks that move the latents of fakes: these fakes are codes of images."""
    faults = [
        f"tricks.{label}: it is for a generator of latents, and what D takes for fakes here are codes of images; leave it "
        "out, or give it role=D where it has one"
        for label, trick in arena.tricks.items()
        if isinstance(trick, Trick) and (type(trick).latent is not Trick.latent or "G" in getattr(trick, "roles", ()))
    ]
    if faults:
        raise InputError(faults)
