"""The variational autoencoder: one player that raises a bound on the likelihood."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.game import Batch, Game, Loss, Spec, Turn
from gantlet.core.noise import normal
from gantlet.core.registry import Slot, game
from gantlet.core.when import Now, Schedule, at
from gantlet.games.arena import built
from gantlet.games.autoencoder import Shown, encoder_of
from gantlet.games.decoder import nats
from gantlet.games.labels import told
from gantlet.losses.penalties import raised


def kl_to_standard(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, diag exp(log_variance)) || N(0, I)) = 1/2 sum(mean^2 + variance - 1 - log variance); [N, z] -> [N]."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


def drawn(mean: Tensor, log_variance: Tensor, now: Now, part: str) -> Tensor:
    """mean + exp(log_variance / 2) e, e a standard normal that goes by the step and the row of the joint batch."""
    key = (now.seed, now.step, now.play, part)
    e = normal((mean.shape[1],), len(mean), key=key, first=now.first, device=mean.device)
    return mean + torch.exp(0.5 * log_variance) * e.to(mean.dtype)


@game
class VAE(Game):
    """One player moves E and G: min E_q(z|x)[-log p(x|z)] + beta KL(q(z|x) || N(0, I)), in nats per image (Kingma and
    Welling 2014, eq. 3; beta: Higgins et al. 2017).

    E says mean and log variance of q(z|x), G the decoder's mean. z is reparameterised, one draw a row. Stats: `elbo`, a
    lower bound on log p(x) where beta is 1. Bernoulli takes grey levels -1..1 as probabilities, and its bound is then not
    comparable to a density's.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        G: Annotated[Any, Slot("generator")],
        E: Annotated[Any, Slot("encoder")],
        decoder: Literal["bernoulli", "gaussian", "laplace"] = "bernoulli",
        scale: Annotated[float, Field(gt=0)] = 0.2,  # of gaussian and laplace: pixels -1..1 are told to about a tenth
        beta: Annotated[Schedule, Field(ge=0)] = 1.0,  # over 1: fewer, independent latents; a schedule warms up
    ) -> None:
        super().__init__()
        spec = told(spec, conditional=False)
        self.G = built("generator", G, spec)
        self.z_dim = int(self.G.z_dim)  # type: ignore[arg-type]
        self.E = encoder_of(E, spec, 2 * self.z_dim)
        self.decoder, self.scale, self.beta = decoder, scale, beta

    def owns(self) -> dict[str, list[nn.Module]]:
        return {"AE": [self.E, self.G]}

    def turns(self) -> list[Turn]:
        return [Turn("AE", "AE", self.wants)]

    def stage(self, batch: Batch, now: Now) -> Shown:
        return Shown(now, batch.x)

    def stagers(self) -> list[nn.Module]:
        return []

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), [N, z] each, in at least float32."""
        mean, log_variance = raised(self.E(x)).chunk(2, 1)
        return mean, log_variance

    def wants(self, scene: Shown) -> Loss:
        """Raise the evidence lower bound."""
        x = scene.real
        mean, log_variance = self.posterior(x)
        back = self.G(drawn(mean, log_variance, scene.now, "vae"))
        cost = nats(self.decoder, x, back, self.scale).mean()
        kl = kl_to_standard(mean, log_variance).mean()
        terms = {"reconstruction": cost, "kl": at(self.beta, scene.now) * kl}
        return Loss(terms, {"elbo": -cost - kl}, {"real": x, "fake": back})

    def generate(self, z: Tensor, *given: Tensor) -> Tensor:
        made: Tensor = self.G(z)
        return made

    def encode(self, x: Tensor) -> Tensor:
        """Samples -> the mean of q(z|x), [N, z_dim]."""
        return self.posterior(x)[0]

    def made_of(self) -> dict[str, nn.Module]:
        return {"G": self.G, "E": self.E}
