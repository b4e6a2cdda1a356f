"""What stands beside a network's first or last layer: something concatenated to what it reads, or somebody who reads too."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from gantlet.core.errors import InputError
from gantlet.nets.equalised import Scaled, equalised_like


class Beside(nn.Module):
    """W h + V s(h): what a linear layer or convolution says when a statistic s [N, width] is concatenated to h.

    V starts with weights as large as W's, less their mean over several statistics, so that what these have in common
    moves nothing at the start; where W is spectrally normalised or equalised, so is V.
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
            drawn = self.more.weight.normal_(std=size_of(base))
            if width > 1:
                drawn -= drawn.mean(1, keepdim=True)
        follow(base, self.more)

    def forward(self, h: Tensor) -> Tensor:
        found = self.statistic(h.to(torch.promote_types(h.dtype, torch.float32))).to(h.dtype)
        n, width = found.shape
        if isinstance(_base(self.layer), nn.Conv2d):
            found = found.view(n, width, 1, 1).expand(n, width, *h.shape[2:])
        else:
            found = found.view(n, *[1] * (h.dim() - 2), width).expand(*h.shape[:-1], width)
        said: Tensor = self.layer(h) + self.more(found)
        return said


class Read(nn.Module):
    """A linear layer that keeps what it read until somebody takes it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.kept: list[Tensor] = []

    def forward(self, h: Tensor) -> Tensor:
        self.kept[:] = [h]
        said: Tensor = self.layer(h)
        return said

    def take(self) -> Tensor:
        """What was read last, once: it carries a graph, which must not outlive the step."""
        return self.kept.pop()

    @property
    def width(self) -> int:
        """Features that are read."""
        base = _base(self.layer)
        assert isinstance(base, nn.Linear)
        return base.in_features

    def like(self, other: Head | nn.Embedding) -> None:
        """Draw the weights of one that reads the same as large as this layer's; normalise them where its are."""
        base = _base(self.layer)
        nn.init.normal_(other.weight, std=size_of(base))
        if isinstance(other, Head):
            nn.init.zeros_(other.bias)
        follow(base, other)


class Head(nn.Linear):
    """A layer that reads what the last one does and says something else: neither a first nor a last layer."""


def follow(layer: nn.Module, other: nn.Module) -> None:
    """Normalise another's weight where this one's is, and let it learn at its rate."""
    held = layer.parametrizations["weight"] if is_parametrized(layer, "weight") else ()  # type: ignore[index]
    if any(not isinstance(part, Scaled) for part in held):
        spectral_norm(other)
    equalised_like(layer, other)


def size_of(layer: nn.Module) -> float:
    """The root mean square of its weights."""
    assert isinstance(layer.weight, Tensor)
    return float(layer.weight.detach().square().mean().sqrt())


def _base(layer: nn.Module) -> nn.Linear | nn.Conv2d:
    while isinstance(layer, Beside | Read):
        layer = layer.layer
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    return layer


def beside_first(net: nn.Module, statistic: nn.Module, width: int, trick: str) -> nn.Module:
    """The network with something beside what its first linear layer or convolution reads, "first" as in `beside_last`."""
    name = _layers(net, trick)[0]
    return _put(net, name, Beside(net.get_submodule(name), statistic, width))


def beside_last(net: nn.Module, make: Callable[[int], nn.Module], width: int, trick: str) -> nn.Module:
    """The network with a statistic beside what its last linear layer or convolution reads.

    `make` builds the statistic for the number of channels or features that are read; "last" is in order of
    registration. A layer that already has one gets a second.
    """
    name = _layers(net, trick)[-1]
    layer = net.get_submodule(name)
    base = _base(layer)
    reads = base.in_channels if isinstance(base, nn.Conv2d) else base.in_features
    return _put(net, name, Beside(layer, make(reads), width))


def read_last(net: nn.Module, trick: str) -> tuple[nn.Module, Read]:
    """The network, and its last linear layer with one output as one that keeps what it reads."""
    layers = {name: net.get_submodule(name) for name in _layers(net, trick)}
    names = [n for n, layer in layers.items() if isinstance(base := _base(layer), nn.Linear) and base.out_features == 1]
    if not names:
        raise InputError(
            f"trick {trick!r}: {type(net).__name__} has no last linear layer with one output; use mlp, cnn or dcgan, or "
            "leave the trick out"
        )
    read = Read(layers[names[-1]])
    return _put(net, names[-1], read), read


def _layers(net: nn.Module, trick: str) -> list[str]:
    """Names of the linear layers and convolutions, in order of registration; with all that stands beside it, one is one."""
    kinds = nn.Linear | nn.Conv2d | Beside | Read
    names = [name for name, m in net.named_modules() if isinstance(m, kinds) and not isinstance(m, Head)]
    inside = [f"{name}." if name else "" for name, m in net.named_modules() if isinstance(m, Beside | Read)]
    outer = [name for name in names if not any(name.startswith(prefix) and name != prefix for prefix in inside)]
    if not outer:
        raise InputError(
            f"trick {trick!r}: {type(net).__name__} has no linear layer or convolution to stand beside; "
            "use mlp, cnn or dcgan, or leave the trick out"
        )
    return outer


def _put(net: nn.Module, name: str, layer: nn.Module) -> nn.Module:
    if not name:
        return layer
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, layer)
    return net
