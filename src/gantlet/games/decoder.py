"""What a decoder's output says of a sample: costs of its pixels, in nats where it is a distribution's mean."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gantlet.losses.penalties import raised

Cost = Callable[[Tensor, Tensor, float], Tensor]  # (sample, decoded, scale), alike in shape -> the same shape
SURE = 1e-6  # a probability is at least this far from 0 and 1: float32 has a logarithm and a slope there


def gaussian(x: Tensor, mean: Tensor, scale: float) -> Tensor:
    """-log N(x; mean, scale^2) = (x - mean)^2 / (2 scale^2) + log(scale sqrt(2 pi))"""
    return 0.5 * ((x - mean) / scale).square() + math.log(scale) + 0.5 * math.log(2 * math.pi)


def laplace(x: Tensor, mean: Tensor, scale: float) -> Tensor:
    """|x - mean| / scale + log(2 scale)"""
    return (x - mean).abs() / scale + math.log(2 * scale)


def bernoulli(x: Tensor, mean: Tensor, scale: float) -> Tensor:
    """-(t log p + (1 - t) log(1 - p)), t and p the sample and the decoder's output as shares 0..1 of white.

    A grey t is an expectation over black and white; of real-valued greys it is no density.
    """
    t, p = (1 + x) / 2, SURE + (1 - 2 * SURE) * ((1 + mean) / 2).clamp(0, 1)
    return -(t * p.log() + (1 - t) * torch.log1p(-p))


NATS: dict[str, Cost] = {"gaussian": gaussian, "laplace": laplace, "bernoulli": bernoulli}


def nats(decoder: str, x: Tensor, decoded: Tensor, scale: float) -> Tensor:
    """-log p(x | z) of each row [N], in at least float32."""
    return NATS[decoder](raised(x), raised(decoded), scale).flatten(1).sum(1)
