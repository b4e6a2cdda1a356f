"""The autoencoder: one player that compresses and restores."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.game import Batch, Game, Loss, Spec, Turn
from gantlet.core.noise import normal
from gantlet.core.registry import Slot, game, part_of
from gantlet.core.when import Now
from gantlet.games.arena import built
from gantlet.games.decoder import Cost, bernoulli
from gantlet.games.labels import told
from gantlet.losses.penalties import exactly, raised

ERRORS: dict[str, Cost] = {
    "squared": lambda x, decoded, scale: (x - decoded).square(),
    "absolute": lambda x, decoded, scale: (x - decoded).abs(),
    "bernoulli": bernoulli,
}
SHARE = 0.01  # by which a batch counts less after each that follows: about a hundred are remembered
FLAT = 1e-5  # of the mean variance: what a direction of codes without any is given, so that it can be divided by


class Shown(NamedTuple):
    """What a single player sees."""

    now: Now
    real: Tensor


class Coder(nn.Module):
    """An encoder that keeps the running mean and covariance of its codes [N, d], to draw from N(mean, covariance).

    Rows count alike within a batch, in however many pieces it comes, and those of a batch ago (1 - SHARE) as much.
    """

    def __init__(self, net: nn.Module, width: int) -> None:
        super().__init__()
        self.net = net
        self.mean: Tensor
        self.covariance: Tensor
        self.rows: Tensor
        self.batch: Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("covariance", torch.eye(width))
        self.register_buffer("rows", torch.zeros(()))  # how many, older ones counting less
        self.register_buffer("batch", torch.full((2,), -1))  # which was seen last: its step and play

    def forward(self, x: Tensor) -> Tensor:
        code: Tensor = self.net(x)
        return code

    @torch.no_grad()
    def look(self, codes: Tensor, now: Now | None = None) -> None:
        """Move the moments towards a batch's, or a piece of one, on the device; without `now` each call is a batch."""
        with exactly(codes):
            codes = codes.to(self.mean.dtype)
            if now is None:
                self.rows.mul_(1 - SHARE)
            else:
                at = torch.stack([torch.full_like(self.batch[0], n) for n in (now.step, now.play)])
                self.rows.mul_(torch.where((at == self.batch).all(), 1.0, 1 - SHARE))
                self.batch.copy_(at)
            self.rows.add_(len(codes))
            share = len(codes) / self.rows  # 1 for the first: moments begin as its own
            middle = codes.mean(0)
            off, toward = codes - middle, middle - self.mean
            # about the mean: a second moment less the mean's square is rounding where codes are far from zero
            self.covariance.mul_(1 - share).add_(share * (off.T @ off) / len(codes))
            self.covariance.add_(share * (1 - share) * torch.outer(toward, toward))
            self.mean.add_(share * toward)

    def root(self, power: float = 0.5) -> Tensor:
        """covariance^power, symmetric [d, d], in float64; flat directions have a little variance of their own.

        By eigenvalues, which can be kept above zero whatever rounding did; on the host where a device has none.
        """
        host = torch.device("cpu") if self.mean.device.type == "mps" else self.mean.device
        variances, ways = torch.linalg.eigh(self.covariance.to(host).double())
        floor = FLAT * variances.mean().clamp(min=1e-6)
        found: Tensor = (ways * (variances.clamp(min=0) + floor).pow(power)) @ ways.T
        return found

    def of(self, z: Tensor) -> Tensor:
        """Latents -> codes: mean + covariance^(1/2) z."""
        return self.mean.to(z.dtype) + z @ self.root().to(z)

    def back(self, codes: Tensor) -> Tensor:
        """Codes -> latents."""
        root = self.root(-0.5)
        return ((codes.to(root) - self.mean.to(root)) @ root).to(codes)


def encoder_of(E: Any, spec: Spec, outputs: int) -> nn.Module:
    """An encoder: a module as it is, or built for this data and so many outputs."""
    made: nn.Module = E if isinstance(E, nn.Module) else part_of("encoder", E)(spec, outputs)
    return made


@game
class Autoencoder(Game):
    """One player moves E and G: min E |x - G(E(x))|^2 (Hinton and Salakhutdinov 2006, Science 313).

    It is no generative model: codes have no prior. For samples the game keeps the running mean and covariance C of its
    codes and decodes mean + C^(1/2) z, z standard normal: a Gaussian laid over codes that need not be Gaussian, so samples
    are worse than reconstructions. `error`: per pixel, averaged over pixels and rows; bernoulli is the cross-entropy of
    grey levels as probabilities.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        G: Annotated[Any, Slot("generator")],
        E: Annotated[Any, Slot("encoder")],
        error: Literal["squared", "absolute", "bernoulli"] = "squared",
        noise: Annotated[float, Field(ge=0, le=2)] = 0.0,  # of images shown to E: denoising (Vincent et al. 2008)
    ) -> None:
        super().__init__()
        spec = told(spec, conditional=False)
        self.G = built("generator", G, spec)
        self.z_dim = int(self.G.z_dim)  # type: ignore[arg-type]
        self.E = Coder(encoder_of(E, spec, self.z_dim), self.z_dim)
        self.error, self.noise = ERRORS[error], noise

    def owns(self) -> dict[str, list[nn.Module]]:
        return {"AE": [self.E, self.G]}

    def turns(self) -> list[Turn]:
        return [Turn("AE", "AE", self.wants)]

    def stage(self, batch: Batch, now: Now) -> Shown:
        return Shown(now, batch.x)

    def stagers(self) -> list[nn.Module]:
        return []

    def wants(self, scene: Shown) -> Loss:
        """Give back what was shown."""
        x = scene.real
        code = self.E(x + self._noise(x, scene.now) if self.noise else x)
        self.E.look(code, scene.now)
        back = self.G(code)
        error = self.error(raised(x), raised(back), 1.0).mean()
        return Loss({"reconstruction": error}, views={"real": x, "fake": back})

    def _noise(self, x: Tensor, now: Now) -> Tensor:
        key = (now.seed, now.step, now.play, "autoencoder")
        return self.noise * normal(tuple(x.shape[1:]), len(x), key=key, first=now.first, device=x.device).to(x.dtype)

    def generate(self, z: Tensor, *given: Tensor) -> Tensor:
        made: Tensor = self.G(self.E.of(z))
        return made

    def encode(self, x: Tensor) -> Tensor:
        """Samples -> the latents [N, z_dim] that `generate` decodes to their reconstructions."""
        return self.E.back(self.E(x))

    def made_of(self) -> dict[str, nn.Module]:
        return {"G": self.G, "E": self.E}
