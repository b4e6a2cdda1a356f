"""Freeze-D."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.registry import trick
from gantlet.core.trick import Trick
from gantlet.tricks.told import passed


@trick.named("freeze-d")
class FreezeD(Trick):
    """Freeze-D: the first layers of D stay as they are while the others and G learn (Mo, Cho and Shin 2020).

    For a training that starts from other weights (`--from`): what a critic learned of edges and textures is kept, which
    helps where data is scarce. Layers are linear ones and convolutions in the order in which a sample passes them, each
    with the norms up to the next. Running statistics and spectral norms of frozen layers still move.
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
        starts = [i for i, module in enumerate(way) if _is_layer(module)]
        if len(starts) < sum(map(_is_layer, net.modules())):
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
        for module in way[: starts[count]]:
            module.requires_grad_(False)
        return net


def _is_layer(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.modules.conv._ConvNd)


def _on_the_way(net: nn.Module, spec: Spec) -> list[nn.Module]:
    """Layers and norms, each once, in the order in which a sample passes them: found by showing it two dark ones."""
    way: list[nn.Module] = []

    def seen(module: nn.Module, inputs: tuple[Tensor, ...], out: object) -> None:
        if module not in way:
            way.append(module)

    norms = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
    hooks = [m.register_forward_hook(seen) for m in net.modules() if _is_layer(m) or isinstance(m, norms)]
    modes = {m: m.training for m in net.modules()}
    weight = next(net.parameters())
    y = [torch.zeros(2, dtype=torch.int64, device=weight.device)] if passed(net, spec) else []
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
