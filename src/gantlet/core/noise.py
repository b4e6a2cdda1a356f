"""Randomness as a function of its address: no generator, no state, the same on any rank and for any batch size.

An element's address is (key, row, column). Its 64 bits are two rounds of the SplitMix64 finaliser (Steele, Lea and
Flood 2014, "Fast splittable pseudorandom number generators") over that address; uniforms take the top 53 bits, normals
are Box-Muller pairs computed in float64 and rounded once.

Several runs played as one batch have a tuple of k seeds in the seed's place: n rows are then k equal blocks, block j of
them what seed j alone draws from row `first` // k on.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

Key = tuple[int | str | tuple[int, ...], ...]

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def key_of(*parts: int | str | tuple[int, ...]) -> int:
    """A 63-bit number that depends on every part (seed, step, name, ...)."""
    text = "\x1f".join(f"{type(p).__name__}:{p}" for p in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def _signed(value: int) -> int:
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def _shift(x: Tensor, k: int) -> Tensor:
    """Logical right shift of int64."""
    return (x >> k) & ((1 << (64 - k)) - 1)


def _finalise(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shift(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shift(x, 31)


def _bits(columns: int, n: int, key: Key, first: int, device: torch.device | None) -> Tensor:
    """int64 [n, columns], 64 well-mixed bits each."""
    return _spread(_starts(n, key, first, device), columns)


def _spread(starts: Tensor, columns: int) -> Tensor:
    """int64 [n, columns] of a number for each row."""
    cols = torch.arange(columns, dtype=torch.int64, device=starts.device).unsqueeze(0)
    return _finalise(_finalise(starts).unsqueeze(1) + (cols + 1) * _signed(_GOLDEN))


def _starts(n: int, key: Key, first: int, device: torch.device | None) -> Tensor:
    """int64 [n], a number for each row of each key."""
    seeds = next((part for part in key if isinstance(part, tuple)), None)
    if seeds is None:
        rows = torch.arange(first, first + n, dtype=torch.int64, device=device)
        return rows * _signed(_GOLDEN) + _signed(key_of(*key))
    k = len(seeds)
    if n % k:
        raise ValueError(f"{n} rows do not divide over {k} seeds")
    keys = [key_of(*(seed if part is seeds else part for part in key)) for seed in seeds]
    rows = torch.arange(first // k, first // k + n // k, dtype=torch.int64, device=device)
    own = torch.tensor([_signed(key) for key in keys], device=device).unsqueeze(1)
    return (rows * _signed(_GOLDEN) + own).flatten()


def uniform(shape: tuple[int, ...], n: int, *, key: Key, first: int = 0, device: torch.device | None = None) -> Tensor:
    """float32 [n, *shape] uniform in [0, 1); row i depends on (key, first + i) alone."""
    if device is not None and device.type == "mps":  # which knows no float64
        return uniform(shape, n, key=key, first=first).to(device)
    bits = _bits(math.prod(shape), n, key, first, device)
    return (_shift(bits, 11).to(torch.float64) * 2.0**-53).to(torch.float32).clamp_(max=1 - 2.0**-24).view(n, *shape)


def normal(shape: tuple[int, ...], n: int, *, key: Key, first: int = 0, device: torch.device | None = None) -> Tensor:
    """float32 [n, *shape] standard normal; row i depends on (key, first + i) alone."""
    if device is not None and device.type == "mps":  # which knows no float64
        return normal(shape, n, key=key, first=first).to(device)
    return _normals(_starts(n, key, first, device), shape)


def normal_of(z: Tensor, shape: tuple[int, ...], *, key: Key) -> Tensor:
    """float32 [n, *shape] standard normal; row i depends on (key, the float32 bits of z[i]) alone; z [n, d].

    Randomness inside a generator: a sample follows from its latent, at any batch size, while training and after.
    """
    if z.device.type == "mps":  # which knows no float64
        return normal_of(z.cpu(), shape, key=key).to(z.device)
    bits = z.detach().to(torch.float32).contiguous().view(torch.int32).to(torch.int64).flatten(1)
    cols = torch.arange(1, bits.shape[1] + 1, dtype=torch.int64, device=z.device) * _signed(_GOLDEN)
    return _normals(_finalise(bits + cols).sum(1) + _signed(key_of(*key)), shape)


def _normals(starts: Tensor, shape: tuple[int, ...]) -> Tensor:
    n, columns = starts.shape[0], math.prod(shape)  # not len(): exporters follow the shape
    half = (columns + 1) // 2
    u = (_shift(_spread(starts, 2 * half), 11).to(torch.float64) + 0.5) * 2.0**-53
    radius = torch.sqrt(-2 * torch.log(u[:, :half].contiguous()))
    angle = 2 * math.pi * u[:, half:].contiguous()
    pair = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)
    return pair[:, :columns].to(torch.float32).reshape(n, *shape)
