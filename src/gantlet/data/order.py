"""The order of the data: a keyed bijection in O(1) memory, so that there is nothing to shuffle and nothing to save."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Words = NDArray[np.uint64]  # whose arithmetic wraps at 2^64; numpy, because it is quick on few numbers

_ROUNDS = 6  # four already look random (Luby and Rackoff 1988)
_MOST_ROUNDS = 12  # for halves of two bits, whose round functions are hardly random
_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_A, _B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def _words(value: int | Tensor) -> Words:
    """An int as one word, int64 as as many."""
    if isinstance(value, int):
        return np.array([value & _MASK], np.uint64)
    words: Words = value.cpu().numpy().view(np.uint64)
    return words


def _mix(x: Words) -> Words:
    """The SplitMix64 finaliser (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * _A
    x = (x ^ (x >> np.uint64(27))) * _B
    return x ^ (x >> np.uint64(31))


def subkey(key: int, number: Tensor) -> Tensor:
    """A key per element: what `key` becomes for the epoch (or block) `number`; int64 [n], well mixed."""
    golden = _words(_GOLDEN)
    mixed = _mix(_mix(_words(number.contiguous()) * golden + _words(key)) + golden)
    return torch.from_numpy(mixed.view(np.int64))


def _feistel(x: Words, half: int, keys: list[Words]) -> Words:
    """One pass of a balanced Feistel network over 2 * half bits: a bijection whatever the round keys."""
    width, mask, down = np.uint64(half), np.uint64((1 << half) - 1), np.uint64(64 - half)
    left, right = x >> width, x & mask
    for key in keys:
        f = (right ^ key) * _A
        left, right = right, left ^ (((f ^ (f >> np.uint64(32))) * _B) >> down)
    return (left << width) | right


def permute(i: Tensor, n: int, *, key: int | Tensor) -> Tensor:
    """Where each position `i` (int64 [k], in 0..n-1) goes under the bijection of 0..n-1 that `key` names.

    A Feistel network over the next even power of two, walked along its cycle until it lands inside (Black and Rogaway
    2002, "Ciphers with arbitrary finite domains"). `key` may be a tensor like `i`: a bijection per element.
    """
    half = max(2, ((n - 1).bit_length() + 1) // 2)
    base = _words(key if isinstance(key, int) else key.contiguous())
    rounds = _ROUNDS if half > 2 else _MOST_ROUNDS
    keys = [_mix(base + _words((r + 1) * _GOLDEN)) for r in range(rounds)]
    out = _feistel(_words(i.contiguous()), half, keys)
    outside = np.flatnonzero(out >= n)
    while outside.size:
        walked = _feistel(out[outside], half, [k if k.size == 1 else k[outside] for k in keys])
        out[outside] = walked
        outside = outside[walked >= n]
    return torch.from_numpy(out.view(np.int64))
