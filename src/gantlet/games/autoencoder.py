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
SHARE = 0.01  # of a batch in the running moments: a hundred batches are remembered


class Shown(NamedTuple):
    """What a single player sees."""

    now: Now
    real: Tensor


class Coder(nn.Module):
    """An encoder that keeps the running mean and second moment of its codes [N, d], to draw from N(mean, covariance)."""

    def __init__(self, net: nn.Module, width: int) -> None:
        super().__init__()
        self.net = net
        self.mean: Tensor
        self.second: Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("second", torch.eye(width))

    def forward(self, x: Tensor) -> Tensor:
        code: Tensor = self.net(x)
        return code

    @torch.no_grad()
    def look(self, codes: Tensor) -> None:
        """Move the moments towards a batch's, on the device."""
        with exactly(codes):
            codes = codes.to(self.mean.dtype)
            self.mean.lerp_(codes.mean(0), SHARE)
            self.second.lerp_(codes.T @ codes / len(codes), SHARE)

    def root(self) -> Tensor:
        """L of covariance = L L^T, lower triangular [d, d]; a little is added to the diagonal, as codes may be flat."""
        covariance = self.second - torch.outer(self.mean, self.mean)
        floor = 1e-5 * covariance.diagonal().mean().clamp(min=1e-6)
        eye = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
        found: Tensor = torch.linalg.cholesky_ex(covariance + floor * eye).L
        return found

    def of(self, z: Tensor) -> Tensor:
        """Latents -> codes: mean + L z."""
        return self.mean.to(z.dtype) + z @ self.root().to(z.dtype).T

    def back(self, codes: Tensor) -> Tensor:
        """Codes -> latents."""
        far = (codes.to(self.mean.dtype) - self.mean).T
        found: Tensor = torch.linalg.solve_triangular(self.root(), far, upper=False)
        return found.T.to(codes.dtype)


def encoder_of(E: Any, spec: Spec, outputs: int) -> nn.Module:
    """An encoder: a module as it is, or built for this data and so many outputs."""
    made: nn.Module = E if isinstance(E, nn.Module) else part_of("encoder", E)(spec, outputs)
    return made


@game
class Autoencoder(Game):
    """One player moves E and G: min E |x - G(E(x))|^2 (Hinton and Salakhutdinov 2006, Science 313).

    It is no generative model: codes have no prior. For samples the game keeps the running mean and covariance L L^T of
    its codes and decodes mean + L z, z standard normal: a Gaussian laid over codes that need not be Gaussian, so samples
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
        self.E.look(code)
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
