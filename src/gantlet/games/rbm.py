"""The restricted Boltzmann machine: one player that lowers the energy of data and raises that of its own dreams."""

from __future__ import annotations

import copy
import math
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.game import Batch, Game, Loss, Spec, Turn
from gantlet.core.noise import normal_of, uniform
from gantlet.core.registry import game
from gantlet.core.when import Now
from gantlet.games.autoencoder import Shown
from gantlet.losses.penalties import exactly, raised

Kind = Literal["binary", "gaussian"]
Count = Annotated[int, Field(ge=1)]


class Machine(nn.Module):
    """E(v, h) = -b.v - c.h - h.W v for binary v, |v - b|^2 / (2 s^2) - c.h - h.W v / s for Gaussian v; h is binary."""

    def __init__(self, visible: int, units: int, kind: Kind, scale: float, chains: int = 0) -> None:
        super().__init__()
        self.W = nn.Parameter(0.01 * torch.randn(units, visible))  # small: Hinton 2012, a practical guide, section 8
        self.b, self.c = nn.Parameter(torch.zeros(visible)), nn.Parameter(torch.zeros(units))
        self.kind, self.scale = kind, 1.0 if kind == "binary" else scale
        # hidden states of the persistent chains; booleans: several ranks have chains of their own, which no mean betters
        self.fantasies: Tensor
        self.register_buffer("fantasies", torch.rand(chains, units) < 0.5)

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """[N, visible] and [N, units] -> [N]"""
        return self._alone(v) - h @ self.c - (h * F.linear(v / self.scale, self.W)).sum(1)

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) = -log sum_h exp(-E(v, h)) = (what b says of v) - sum_j softplus(c_j + W_j v / s); [N, visible] -> [N]."""
        return self._alone(v) - F.softplus(self.excited(v)).sum(1)

    def _alone(self, v: Tensor) -> Tensor:
        if self.kind == "binary":
            return -(v @ self.b)
        return (v - self.b).square().sum(1) / (2 * self.scale**2)

    def excited(self, v: Tensor) -> Tensor:
        """Logits of p(h = 1 | v), [N, units]."""
        return F.linear(v / self.scale, self.W, self.c)

    def seen(self, h: Tensor) -> Tensor:
        """E[v | h]: probabilities of binary v, the mean of Gaussian v; [N, visible]."""
        toward = F.linear(h, self.W.T)
        return torch.sigmoid(toward + self.b) if self.kind == "binary" else self.b + self.scale * toward

    def hidden_of(self, v: Tensor, u: Tensor) -> Tensor:
        """A draw of h given v, by uniforms u [N, units]."""
        return (u < torch.sigmoid(self.excited(v))).to(v.dtype)

    def visible_of(self, h: Tensor, u: Tensor) -> Tensor:
        """A draw of v given h, by uniforms u [N, visible]."""
        mean = self.seen(h)
        if self.kind == "binary":
            return (u < mean).to(h.dtype)
        return mean + self.scale * math.sqrt(2) * torch.erfinv((2 * u - 1).clamp(-1 + 1e-6, 1 - 1e-6))

    def units_of(self, x: Tensor) -> Tensor:
        """Images -1..1 as visible units [N, visible]: greys as probabilities, or as they are."""
        flat = raised(x.flatten(1))
        return (1 + flat) / 2 if self.kind == "binary" else flat

    def images_of(self, v: Tensor) -> Tensor:
        """Back to -1..1, [N, visible]."""
        return 2 * v - 1 if self.kind == "binary" else v


@game
class RBM(Game):
    """One player lowers E F(v) - E F(v_k), v data, v_k the end of k Gibbs steps, F the free energy (Smolensky 1986;
    contrastive divergence: Hinton 2002; `persistent`: chains that begin at data and go on from step to step, Tieleman 2008).

    v_k is a number here, not a function of the weights: the likelihood's gradient is E dF(v)/dw - E_model dF/dw, and k
    steps of a chain stand in for the draws of the model in that second mean. No player's way is cut off by that: v_k is
    nobody else's, and draws of zeros and ones have no derivative (`first_order`).

    A latent z begins a chain at one of the persistent ones, or where there are none at h_j = 1 for z_j > 0; that and all
    further draws follow from its bits. After `chain` Gibbs steps a sample is the mean of the visible units, as such samples
    are usually shown. It is as good as the chain mixes: neighbours in z share nothing, and few steps stay near the start.
    The chain is run in float64, as a last bit that tips one draw would change all that follow.
    """

    first_order = True
    smooth = False

    def __init__(
        self,
        spec: Spec,
        *,
        units: Count = 256,
        visible: Kind = "binary",
        scale: Annotated[float, Field(gt=0)] = 0.5,  # deviation of a Gaussian visible unit given the hidden ones
        k: Annotated[int, Field(ge=1, le=1000)] = 1,  # Gibbs steps of a training step
        persistent: bool = True,  # draws nearer to the model's than k steps from the data
        chains: Count = 100,  # persistent ones
        # Gibbs steps of a sample: its time against its likeness to where it began
        chain: Annotated[int, Field(ge=1, le=100_000)] = 100,
    ) -> None:
        super().__init__()
        self.shape, self.k, self.persistent, self.chain = spec.shape, k, persistent, chain
        self.size = math.prod(spec.shape)
        self.G = Machine(self.size, units, visible, scale, chains if persistent else 0)
        self.z_dim = units
        self.couples_batch = persistent  # each piece of a batch would drive the chains on

    def owns(self) -> dict[str, list[nn.Module]]:
        return {"RBM": [self.G]}

    def turns(self) -> list[Turn]:
        return [Turn("RBM", "RBM", self.wants)]

    def stage(self, batch: Batch, now: Now) -> Shown:
        return Shown(now, batch.x)

    def stagers(self) -> list[nn.Module]:
        return []

    def wants(self, scene: Shown) -> Loss:
        """Believe in the data, and not in what is dreamt up."""
        with exactly(scene.real):  # free energies are large numbers that are subtracted
            v = self.G.units_of(scene.real)
            dreamt = self._dreamt(v, scene.now)
            on_data, on_dreams = self.G.free_energy(v).mean(), self.G.free_energy(dreamt).mean()
            back = self.G.seen(torch.sigmoid(self.G.excited(v)))
            error = (back - v).square().mean()
        fake = self.G.images_of(dreamt).view(-1, *self.shape)
        stats = {"data": on_data, "dreams": on_dreams, "reconstruction": error}
        return Loss({"RBM": on_data - on_dreams}, stats, {"real": scene.real, "fake": fake})

    @torch.no_grad()
    def _dreamt(self, v: Tensor, now: Now) -> Tensor:
        """The end of k Gibbs steps: from the data, or from where the persistent chains were.

        Those begin at the data of the first step: from noise they would all fall into the valley that opens first.
        """
        h = self.G.fantasies.to(v.dtype) if self.persistent and now.step else self._hidden(v, now, 0)
        if self.persistent and not now.step:
            h = h[torch.arange(len(self.G.fantasies), device=h.device) % len(h)]
        for step in range(1, self.k + 1):
            v = self.G.visible_of(h, self._uniform(len(h), self.size, now, "v", step).to(h))
            h = self._hidden(v, now, step)
        if self.persistent:
            self.G.fantasies.copy_(h > 0.5)
        return v

    def _hidden(self, v: Tensor, now: Now, step: int) -> Tensor:
        return self.G.hidden_of(v, self._uniform(len(v), self.z_dim, now, "h", step).to(v))

    def _uniform(self, n: int, width: int, now: Now, layer: str, step: int) -> Tensor:
        key = (now.seed, now.step, now.play, "rbm", layer, step)
        return uniform((width,), n, key=key, first=now.first, device=self.G.b.device)

    def generate(self, z: Tensor, *given: Tensor) -> Tensor:
        exact = torch.float32 if z.device.type == "mps" else torch.float64
        machine = self.G if self.G.W.dtype == exact else copy.deepcopy(self.G).to(exact)
        h = self._start(z).to(exact)
        for step in range(self.chain - 1):
            v = machine.visible_of(h, _uniform_of(z, self.size, "v", step).to(exact))
            h = machine.hidden_of(v, _uniform_of(z, self.z_dim, "h", step).to(exact))
        return machine.images_of(machine.seen(h)).to(z.dtype).view(-1, *self.shape)

    def _start(self, z: Tensor) -> Tensor:
        """Where each latent begins, [N, units]."""
        if not self.persistent:
            return z > 0
        chosen = _uniform_of(z, 1, "start", 0).squeeze(1) * len(self.G.fantasies)
        return self.G.fantasies[chosen.long().clamp(max=len(self.G.fantasies) - 1)]

    def made_of(self) -> dict[str, nn.Module]:
        return {"G": self.G}


def _uniform_of(z: Tensor, width: int, layer: str, step: int) -> Tensor:
    """Uniforms [N, width] in 0..1 that follow the bits of each row of z."""
    return 0.5 * (1 + torch.erf(normal_of(z, (width,), key=("rbm", layer, step)) / math.sqrt(2)))
