"""Which rectifiers answer 0 whatever a network is shown, noted while it is shown something."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

RECTIFIERS = frozenset({F.relu, F.relu6, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_})
LEAKY = frozenset({F.leaky_relu, F.leaky_relu_})  # rectifiers where nothing leaks


class Rectified(TorchFunctionMode):
    """Notes which channels of each rectifier, in the order of their calls, are exactly 0 for all rows and places.

    It sees functions, so a network need not have modules for them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dead: list[Tensor] = []  # bool [channels] each

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        cuts = func in RECTIFIERS or (func in LEAKY and _slope(args, kwargs or {}) == 0)
        if cuts and isinstance(out, Tensor) and out.dim() > 1:
            self.dead.append((out.detach() == 0).transpose(0, 1).flatten(1).all(1))
        return out

    def layers(self, pieces: int) -> list[Tensor]:
        """The dead channels of each layer, all of which were passed through once for each piece of a batch."""
        count = len(self.dead) // pieces
        return [torch.stack(self.dead[i::count]).all(0) for i in range(count)]


def _slope(args: Sequence[Any], kwargs: Mapping[str, Any]) -> float:
    return float(args[1] if len(args) > 1 else kwargs.get("negative_slope", 0.01))
