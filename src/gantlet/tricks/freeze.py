"""Freeze-D."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import nn

from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.registry import trick
from gantlet.core.trick import Trick
from gantlet.tricks.beside import Beside, Read
from gantlet.tricks.concat_labels import WithLabels
from gantlet.tricks.told import passed


@trick.named("freeze-d")
class FreezeD(Trick):
    """Freeze-D: the first layers of D stay as they are while the others and G learn (Mo, Cho and Shin 2020).

    For a training that starts from other weights (`--from`): what a critic learned of edges and textures is kept, which
    helps where data is scarce. Layers are linear ones and convolutions in the order in which a sample passes them, one
    with what stands beside it; whatever a sample has passed before the first that learns stays. Running
    statistics and spectral norms of frozen layers still move.
    """

    late = True  # after the tricks that give a critic more layers

    def __init__(
        self,
        *,
        layers: Annotated[int, Field(ge=1)] | None = None,  # null: the first half of them
    ) -> None:
        super().__init__()
        self.layers = layers

    def dress(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
        if role != "D":
            return net
        way = _on_the_way(net, spec)
        starts = [i for i, passed in enumerate(way) if passed.layer and not passed.done]
        if len(starts) < len(layers_of(net)):
            raise InputError(
                f"trick 'freeze-d': a sample does not pass all layers of {type(net).__name__}, which grows; use another "
                "network, or leave the trick out"
            )
        count = len(starts) // 2 if self.layers is None else self.layers
        if not 0 < count < len(starts):
            raise InputError(
                f"trick 'freeze-d': layers={count}: {type(net).__name__} has {len(starts)} layers, and at least the last "
                f"must learn; use 1 to {max(1, len(starts) - 1)}"
            )
        for one in way[: starts[count]]:
            if one.done:  # what holds a later layer too is not: its own weights may be used after it
                for weight in one.module.parameters(recurse=one.layer):
                    weight.requires_grad_(False)
        return net


class Passed(NamedTuple):
    """A sample has come to a module, or has gone through it."""

    module: nn.Module
    done: bool
    layer: bool


def layers_of(net: nn.Module) -> list[nn.Module]:
    """Its linear layers and convolutions, one with all that stands beside it."""
    kinds = Beside | Read | nn.Linear | nn.modules.conv._ConvNd
    found = [m for m in net.modules() if isinstance(m, kinds)]
    inside = {part for m in found if isinstance(m, Beside | Read) for part in m.modules() if part is not m}
    return [m for m in found if m not in inside]


def _on_the_way(net: nn.Module, spec: Spec) -> list[Passed]:
    """What a sample passes, each once, in order: found by showing a critic two dark ones."""
    way: list[Passed] = []
    layers = set(layers_of(net))

    def note(module: nn.Module, done: bool) -> None:
        one = Passed(module, done, module in layers)
        if one not in way:
            way.append(one)

    hooks = [m.register_forward_hook(lambda module, inputs, out: note(module, True)) for m in net.modules()]
    hooks += [m.register_forward_pre_hook(lambda module, inputs: note(module, False)) for m in layers]
    modes = {m: m.training for m in net.modules()}
    weight = next(net.parameters())
    packs = next((m.packs for m in net.modules() if isinstance(m, WithLabels)), 1)
    told = (2, packs) if packs > 1 else (2,)
    y = [torch.zeros(*told, dtype=torch.int64, device=weight.device)] if passed(net, spec) else []
    given = [torch.zeros(2, *shape, dtype=weight.dtype, device=weight.device) for shape in spec.given]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            net.eval()(torch.zeros(2, *spec.shape, dtype=weight.dtype, device=weight.device), *y, *given)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    return way
