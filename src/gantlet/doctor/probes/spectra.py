"""How large do the weights grow? Spectral norms, which explode before BigGANs collapse (Brock et al. 2019, section 4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantlet.core.noise import normal
from gantlet.doctor.probes.case import PROBES, Case
from gantlet.losses.weights import filters

ROUNDS = 16  # of power iteration: within a few percent of the norm, from below
TOP = 3  # layers of G that are reported one by one


@torch.no_grad()
def spectra(case: Case) -> dict[str, Tensor]:
    """sigma_top.D, sigma_top.G: the largest spectral norm of a weight matrix of the critics and of what generates, as it is
    learnt (before spectral norm divides it); sigma.G.k: that of the k-th matrix, of the three with the largest.
    """
    if not case.makes:
        return {}
    found: dict[str, Tensor] = {}
    G = case.game.made_of().get("G")
    norms = [] if G is None else norms_of(G)
    if norms:
        top = torch.stack(norms)
        largest = top.argsort(descending=True)[:TOP].tolist()
        found = {"sigma_top.G": top.max(), **{f"sigma.G.{k}": norms[k] for k in sorted(largest)}}
    norms = norms_of(case.arena.critics) if case.judges else []
    return {**found, "sigma_top.D": torch.stack(norms).max()} if norms else found


def norms_of(net: nn.Module) -> list[Tensor]:
    """The spectral norm of every linear layer and convolution, in the network's order."""
    return [spectral_norm(w) for w in filters(net)]


def spectral_norm(weight: Tensor, rounds: int = ROUNDS) -> Tensor:
    """The largest singular value of weight [m, n] by power iteration, 0-d; never above it."""
    w = weight.detach().float()
    v = normal((w.shape[1],), 1, key=("spectra", w.shape[1]), device=w.device)[0]
    w = w / w.norm().clamp(min=1e-30)  # no larger than 1, so that a few rounds need no care
    for i in range(rounds):
        v = w.T @ (w @ v)
        if i % 4 == 3 or i == rounds - 1:
            v = F.normalize(v, dim=0, eps=1e-30)
    norm: Tensor = (weight.detach().float() @ v).norm()
    return norm


PROBES.append(spectra)
