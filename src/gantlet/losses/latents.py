"""Penalties on how samples answer to their latents; they have a term in the generator's turn."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Evidence
from gantlet.core.errors import InputError
from gantlet.core.held import draws, movable
from gantlet.core.registry import penalty
from gantlet.core.when import at
from gantlet.losses.penalties import (
    Every,
    Penalty,
    Strength,
    differentiable,
    exactly,
    for_slopes,
    lengths,
    low_precision,
    normals,
    raised,
)
from gantlet.losses.running import RunningMean

Decay = Annotated[float, Field(ge=0, lt=1)]


@penalty
def zcr(
    *,
    d_weight: Strength = 20.0,  # both weights and sigma as for BigGAN on CIFAR-10
    g_weight: Strength = 0.5,
    sigma: Annotated[float, Field(gt=0)] = 0.05,
    every: Every = 1,
) -> Penalty:
    """Latent consistency, z' = z + sigma n: D adds a E |D(G(z)) - D(G(z'))|^2, G adds -b E |G(z) - G(z')|^2, so that
    samples differ where latents do (Zhao et al. 2021, algorithm 2).

    Squares are averaged over the entries of a sample, in full precision. Of a generator with `fixed_latents` n the last n
    coordinates of z, a choice among networks, stay as they are. Generators that draw noise by the bits of z are refused:
    samples would differ by their noise, at any sigma.
    """

    def near(e: Evidence, G: nn.Module, z: Tensor) -> Tensor:
        if draws(G):
            raise InputError(
                "penalty 'zcr' moves latents a little, and this generator's noise changes with any bit of them (style, "
                "style2, fastgan); use style3, dcgan, resnet or r3, or leave it out"
            )
        fake: Tensor = G(z + sigma * normals(e, z, "zcr") * movable(G, z), *e.given)
        return fake

    def term(e: Evidence) -> Tensor:
        z, G = _latents(e, "zcr")
        with exactly(z):  # low precision would drown what so small a move changes
            # not e.fake: a trick may put other samples before the critics than those of these latents
            here, there = e.ask(G(z, *e.given), "fake"), e.ask(near(e, G, z), "fake")
        gaps = [(v.logits - w.logits).square().mean() for v, w in zip(here, there, strict=True)]
        return at(d_weight, e.now) * torch.stack(gaps).sum()

    def g_term(e: Evidence) -> Tensor:
        z, G = _latents(e, "zcr")
        low = low_precision(z)
        with exactly(z):
            here, there = G(z, *e.given) if low else e.fake, near(e, G, z)
        return -at(g_weight, e.now) * (raised(here) - raised(there)).square().mean()

    return Penalty(term, every, g_term)


@penalty
def path_length(
    *,
    weight: Strength = 2.0,
    decay: Decay = 0.99,
    rows: Annotated[float, Field(gt=0, le=1)] = 0.5,  # share of the batch: a second derivative of G is costly
    every: Every = 4,
    of: Literal["z", "w"] = "z",  # w, as in the paper, wants a generator with styles
) -> Penalty:
    """Path length: G adds weight E (|J^T y|_2 - a)^2, J the Jacobian of G in z or w, y normal images over the root of
    their pixels, a an exponential average of the lengths (Karras et al. 2020, eq. 4).

    The average moves whenever the penalty is due, before it is read; it begins at the first batch's mean. Where every
    layer has a style w of its own, a length is the root of the mean square over layers.
    """
    average = RunningMean(1, decay)

    def g_term(e: Evidence) -> Tensor:
        z, G = _latents(e, "path-length")
        n = max(1, round(rows * len(z)))
        with for_slopes(z, n):
            start, fake = _MOVED[of](G, z[:n], tuple(g[:n] for g in e.given))
            y = normals(e, fake, "path-length") / math.sqrt(math.prod(fake.shape[2:]))
            (pull,) = torch.autograd.grad((fake * y).sum(), start, create_graph=True)
        layers = pull.shape[1] if of == "w" and pull.dim() == 3 else 1
        long = lengths(raised(pull).flatten(1)) / math.sqrt(layers)
        gaps: Tensor = long - average.update(long.mean().view(1))
        return at(weight, e.now) * gaps.square().mean()

    return Penalty(None, every, g_term, couples_batch=True, state=average)


def _in_z(G: nn.Module, z: Tensor, given: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Latents ready to be differentiated in, and their fakes."""
    z = differentiable(z)
    return z, G(z, *given)


def _in_w(G: nn.Module, z: Tensor, given: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """The styles [N, w] or [N, layers, w] that G makes of z, ready to be differentiated in, and their fakes."""
    found = (getattr(module, "synthesis", None) for module in G.modules())
    synthesis = next((part for part in found if isinstance(part, nn.Module)), None)
    if synthesis is None:
        raise InputError(
            "penalties.path-length.of=w: this generator has no styles (a `synthesis` of w); use style, style2 or style3, "
            "or of=z"
        )
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        seen.append(differentiable(inputs[0]))
        return seen[-1], *inputs[1:]

    handle = synthesis.register_forward_pre_hook(keep)
    try:
        fake: Tensor = G(z, *given)
    finally:
        handle.remove()
    return seen[-1], fake


_MOVED = {"z": _in_z, "w": _in_w}


def _latents(e: Evidence, name: str) -> tuple[Tensor, nn.Module]:
    if e.z is None or e.G is None:
        raise InputError(f"penalty {name!r} moves latents, but this game makes its fakes without any; leave it out")
    return e.z, e.G
