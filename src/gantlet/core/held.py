"""Randomness inside a generator that can be held, so that what moves in its samples is the code alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gantlet.core.noise import Key, normal, normal_of


class Drawing(nn.Module):
    """What draws noise in a generator: from the bits of the latent, or, held, the same for every row and call."""

    held = False

    def drawn(self, z: Tensor | None, shape: tuple[int, ...], key: Key, device: torch.device) -> Tensor:
        """float32 [N, *shape] that follows from z [N, z_dim]; [1, *shape] without z, or where it is held."""
        if z is None or self.held:
            return normal(shape, 1, key=key, device=device)
        return normal_of(z, shape, key=key)


def draws(net: nn.Module) -> bool:
    """Does it draw by the bits of its latent, so that a latent moved by nothing at all has other noise?"""
    return any(isinstance(m, Drawing) for m in net.modules())


def movable(net: nn.Module, z: Tensor) -> Tensor:
    """Which coordinates of latents [N, z] may be moved, bool [z]: not the last `fixed_latents`, which choose."""
    return torch.arange(z.shape[1], device=z.device) < z.shape[1] - int(getattr(net, "fixed_latents", 0))


@contextmanager
def hold(net: nn.Module) -> Iterator[None]:
    """All noise inside the network held; samples stay differentiable in their latents."""
    before = {m: m.held for m in net.modules() if isinstance(m, Drawing)}
    try:
        for module in before:
            module.held = True
        yield
    finally:
        for module, held in before.items():
            module.held = held
