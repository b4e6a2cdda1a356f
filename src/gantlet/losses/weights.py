"""Penalties on the weights themselves."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.utils import parametrize

from gantlet.core.critics import Evidence
from gantlet.core.errors import InputError
from gantlet.core.registry import penalty
from gantlet.core.when import at
from gantlet.losses.penalties import Every, Penalty, Strength, exactly, raised


@penalty
def orthogonal(
    *,
    weight: Strength = 1e-4,
    critics: bool = True,
    generator: bool = False,  # in the generator's turn too: BigGAN's latents may then be truncated further
    every: Every = 1,
) -> Penalty:
    """Orthogonality of filters whatever their norms: weight sum over weight matrices of |W^T W . (1 - I)|_F^2 (Brock,
    Donahue and Simonyan 2019, eq. 3; with the norms, Brock et al. 2017).

    The columns of W are the filters; embeddings and weights that do not learn are left out.
    """
    if not (critics or generator):
        raise InputError("penalty 'orthogonal': critics and generator are both false; say which weights it is for")

    def term(e: Evidence) -> Tensor:
        return at(weight, e.now) * _overlap(e.critics, e.fake)

    def g_term(e: Evidence) -> Tensor:
        if e.G is None:
            raise InputError("penalty 'orthogonal': this game gives no generator; use generator=False")
        return at(weight, e.now) * _overlap(e.G, e.fake)

    return Penalty(term if critics else None, every, g_term if generator else None)


def _overlap(net: nn.Module, like: Tensor) -> Tensor:
    """Sum over weights of the squared inner products of different filters."""
    with exactly(like):  # products in at least float32
        grams = [raised(w) @ raised(w).T for w in filters(net)]
    overlaps = [(g - torch.diag(g.diagonal())).square().sum() for g in grams]
    return torch.stack(overlaps).sum() if overlaps else raised(like).new_zeros(())


def filters(net: nn.Module) -> list[Tensor]:
    """Every learning weight of two dimensions or more as [filters, what each looks at]."""
    skipped = {id(w) for m in net.modules() if isinstance(m, nn.Embedding) for w in m.parameters()}
    turned = {id(_raw(m)) for m in net.modules() if isinstance(m, _ConvTransposeNd)}  # [in, out, ...]
    weights = [w for w in net.parameters() if w.dim() > 1 and w.requires_grad and id(w) not in skipped]
    return [(w.transpose(0, 1) if id(w) in turned else w).flatten(1) for w in weights]


def _raw(module: nn.Module) -> object:
    """A module's weight, before spectral norm and the like."""
    if parametrize.is_parametrized(module, "weight"):
        return module.parametrizations["weight"].original  # type: ignore[index,union-attr]
    return module.weight
