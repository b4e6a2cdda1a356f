"""What is learnt of images without labels: classes that slight changes leave as they are."""

from __future__ import annotations

import torch
from torch import Tensor

from gantlet.augment.geometry import SLIGHT, slight
from gantlet.augment.pixels import warp
from gantlet.core.noise import uniform
from gantlet.core.when import Now
from gantlet.losses.penalties import raised


def slightly(x: Tensor, now: Now, name: str) -> Tensor:
    """Copies of images [N, C, H, W], each a little turned, stretched and moved; another draw in each turn and name."""
    u = uniform((SLIGHT,), len(x), key=(now.seed, now.step, now.play, name), first=now.first, device=x.device)
    h, w = x.shape[-2:]
    return warp(x.detach(), slight(u, (h, w)))


def mutual(one: Tensor, two: Tensor) -> Tensor:
    """I(a; b) in nats, from logits [N, K] of a and b for the same N rows: of the mean joint table, made symmetric
    (Ji et al. 2019, equations 2 and 3). Between 0 and log K, which takes classes of equal size; a scalar.
    """
    p, q = raised(one).softmax(1), raised(two).softmax(1)
    with torch.autocast(p.device.type, enabled=False):  # which would multiply in half precision
        joint = p.T @ q / len(p)
    joint = ((joint + joint.T) / 2).clamp_min(torch.finfo(joint.dtype).tiny)
    return (joint * (joint.log() - joint.sum(1, keepdim=True).log() - joint.sum(0, keepdim=True).log())).sum()
