"""A statistic of the batch beside what a critic's last layer reads."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from gantlet.core.errors import InputError


class Beside(nn.Module):
    """W h + V s(h): what a linear layer or convolution says when a statistic s [N, width] is concatenated to h.

    V starts with weights as large as W's, less their mean over several statistics, so that what these have in common
    moves nothing at the start; where W is spectrally normalised, so is V.
    """

    def __init__(self, layer: nn.Module, statistic: nn.Module, width: int) -> None:
        super().__init__()
        self.layer, self.statistic = layer, statistic
        base = _base(layer)
        if isinstance(base, nn.Conv2d):
            like = {k: getattr(base, k) for k in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
            self.more: nn.Module = nn.Conv2d(width, base.out_channels, bias=False, **like)
        else:
            self.more = nn.Linear(width, base.out_features, bias=False)
        with torch.no_grad():
            drawn = self.more.weight.normal_(std=float(base.weight.detach().square().mean().sqrt()))
            if width > 1:
                drawn -= drawn.mean(1, keepdim=True)
        if is_parametrized(base, "weight"):
            spectral_norm(self.more)

    def forward(self, h: Tensor) -> Tensor:
        found = self.statistic(h.to(torch.promote_types(h.dtype, torch.float32))).to(h.dtype)
        n, width = found.shape
        if isinstance(_base(self.layer), nn.Conv2d):
            found = found.view(n, width, 1, 1).expand(n, width, *h.shape[2:])
        else:
            found = found.view(n, *[1] * (h.dim() - 2), width).expand(*h.shape[:-1], width)
        said: Tensor = self.layer(h) + self.more(found)
        return said


def _base(layer: nn.Module) -> nn.Linear | nn.Conv2d:
    while isinstance(layer, Beside):
        layer = layer.layer
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    return layer


def beside_last(net: nn.Module, make: Callable[[int], nn.Module], width: int, trick: str) -> nn.Module:
    """The network with a statistic beside what its last linear layer or convolution reads.

    `make` builds the statistic for the number of channels or features that are read; "last" is in order of
    registration. A layer that already has one gets a second.
    """
    names = [name for name, module in net.named_modules() if isinstance(module, nn.Linear | nn.Conv2d | Beside)]
    inside = [f"{name}." for name, module in net.named_modules() if isinstance(module, Beside)]
    outer = [name for name in names if not any(name.startswith(prefix) for prefix in inside)]
    if not outer:
        raise InputError(
            f"trick {trick!r}: {type(net).__name__} has no linear layer or convolution to stand beside; "
            "use mlp, cnn or dcgan, or leave the trick out"
        )
    layer = net.get_submodule(outer[-1])
    base = _base(layer)
    reads = base.in_channels if isinstance(base, nn.Conv2d) else base.in_features
    beside = Beside(layer, make(reads), width)
    if not outer[-1]:
        return beside
    parent, _, name = outer[-1].rpartition(".")
    setattr(net.get_submodule(parent), name, beside)
    return net
