"""Games that are told the class: labels go to G and D as the first of what samples are conditioned on."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Spec
from gantlet.core.trick import Trick
from gantlet.games.arena import Arena
from gantlet.tricks.told import hears


class Labelled(nn.Module):
    """A conditional generator whose latents say by their last coordinate c which class they are for.

    `(z [N, z + 1], y int64 [N])` makes what is asked for. Without y the class is where Phi(c) falls among the classes'
    cumulated shares: standard normal latents draw the classes as the data does.
    """

    def __init__(self, net: nn.Module, z_dim: int, spec: Spec) -> None:
        super().__init__()
        self.net, self.z_dim, self.classes = net, z_dim + 1, spec.classes
        self.fixed_latents = 1 + int(getattr(net, "fixed_latents", 0))  # what moves latents leaves a choice alone
        shares = torch.tensor(spec.shares or [1.0] * spec.classes, dtype=torch.float64)
        edges = (shares / shares.sum()).cumsum(0)[:-1]
        edges[edges > 1 - 1e-12] = math.inf  # no latent is so far out that it asks for a class without rows
        # not saved: a training that goes on with more data draws its classes as often as that has them
        self.register_buffer("edges", edges.float(), persistent=False)

    def classes_of(self, z: Tensor) -> Tensor:
        """int64 [N]"""
        share = 0.5 * (1 + torch.erf(z[:, -1].float() / math.sqrt(2)))
        return torch.bucketize(share, self.get_buffer("edges").to(share), right=True)

    def forward(self, z: Tensor, *given: Tensor) -> Tensor:
        given = given or (self.classes_of(z),)
        made: Tensor = self.net(z[:, :-1], *given)
        return made


def told(spec: Spec, conditional: bool) -> Spec:
    """The data as networks see it: with classes where they are told them."""
    if not conditional:
        return spec._replace(classes=0, shares=())
    if spec.classes < 2:
        raise InputError(
            f"conditional=true: the data has {spec.classes or 'no'} class{'es' if not spec.classes else ''}; give "
            "folders named by class, a labels.csv or labels=true, or use conditional=false"
        )
    return spec


def with_labels(batch: Batch) -> Batch:
    """The batch conditioned on its labels."""
    if batch.y is None:
        raise InputError("conditional=true: these rows have no labels; use data with classes, or conditional=false")
    return batch._replace(given=(batch.y, *batch.given))


def refuse_deaf(G: nn.Module, arena: Arena) -> None:
    """InputError for a network that would not hear the label, or a trick that would give a fake another's."""
    nets = {"G": G, **arena.critics.critics}
    faults = [
        f"{name}: {type(net).__name__} is not told the class; add tricks.concat-labels={{}}"
        + ("" if name == "G" else ", tricks.projection={} or tricks.ac-gan={}")
        + ", use a network that is (resnet, biggan, style, ...), or conditional=false"
        for name, net in nets.items()
        if not hears(net)
    ]
    faults += [
        f"tricks.{label}: puts other fakes in the place of those that were made, whose labels differ; leave it out"
        for label, trick in arena.tricks.items()
        if isinstance(trick, Trick) and trick.replaces_fakes
    ]
    if faults:
        raise InputError(faults)
