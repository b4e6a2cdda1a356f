"""Penalties on the weights themselves."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
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

    The columns of W are the filters, of linear layers and convolutions that learn; of an equalised layer W is what it
    multiplies by.
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
    """The weight of every linear layer and convolution that learns, once, as [filters, what each looks at]."""
    found: dict[int, Tensor] = {}
    for m in net.modules():
        if isinstance(m, nn.Linear | _ConvNd) or getattr(m, "convolves", False):
            for own in _learnt(m):
                w = m.weight if _scaled(m) else own
                assert isinstance(w, Tensor)
                found[id(own)] = (w.transpose(0, 1) if isinstance(m, _ConvTransposeNd) else w).flatten(1)
    return list(found.values())


def _learnt(module: nn.Module) -> list[nn.Parameter]:
    """What a layer's weight is made of: before spectral norm and the like, or before it is scaled; no bias, no gains."""
    if parametrize.is_parametrized(module, "weight"):
        made_of = module.parametrizations["weight"]  # type: ignore[index]
        parts = list(made_of.parameters(recurse=False))  # type: ignore[union-attr]
    else:
        parts = [getattr(module, "raw" if _scaled(module) else "weight")]
    return [w for w in parts if w.dim() > 1 and w.requires_grad]


def _scaled(module: nn.Module) -> bool:
    """Is its weight a product that it makes anew, as an equalised layer's is?"""
    if parametrize.is_parametrized(module, "weight"):
        return any(hasattr(part, "scale") for part in module.parametrizations["weight"])  # type: ignore[index]
    return hasattr(module, "raw") and isinstance(getattr(type(module), "weight", None), property)
