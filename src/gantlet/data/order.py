"""The order of the data: a keyed bijection in O(1) memory, so that there is nothing to shuffle and nothing to save."""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 6  # four already look random (Luby and Rackoff 1988)
_MOST_ROUNDS = 12  # for halves of two bits, whose round functions are hardly random
_GOLDEN = -7046029254386353131  # 2^64 / golden ratio, as a signed number
_CONSTANTS = [((r * _GOLDEN + (1 << 63)) % (1 << 64)) - (1 << 63) for r in range(_MOST_ROUNDS)]  # wrapped as int64 does


def _mix(x: Tensor) -> Tensor:
    """The SplitMix64 finaliser on int64 (Steele, Lea and Flood 2014)."""
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * -4658895280553007687
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * -7723592293110705685
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


def subkey(key: int, number: Tensor) -> Tensor:
    """A key per element: what `key` becomes for the epoch (or block) `number`, int64 of any shape."""
    return _mix(_mix(number * _GOLDEN + key) + _GOLDEN)


def _feistel(x: Tensor, half: int, key: Tensor) -> Tensor:
    """One pass of a balanced Feistel network over 2 * half bits: a bijection whatever the key."""
    mask = (1 << half) - 1
    left, right = x >> half, x & mask
    for constant in _CONSTANTS[: _ROUNDS if half > 2 else _MOST_ROUNDS]:
        left, right = right, left ^ (_mix(right + key + constant) & mask)
    return (left << half) | right


def permute(i: Tensor, n: int, *, key: int | Tensor) -> Tensor:
    """Where each position `i` (int64, in 0..n-1) goes under the bijection of 0..n-1 that `key` names.

    A Feistel network over the next even power of two, walked along its cycle until it lands inside (Black and Rogaway
    2002, "Ciphers with arbitrary finite domains"). `key` may be a tensor like `i`: a bijection per element.
    """
    half = max(2, ((n - 1).bit_length() + 1) // 2)
    keys = torch.as_tensor(key, dtype=torch.int64).expand_as(i)
    out = _feistel(i, half, keys)
    outside = (out >= n).nonzero().squeeze(1)
    while outside.numel():
        walked = _feistel(out[outside], half, keys[outside])
        out[outside] = walked
        outside = outside[walked >= n]
    return out
