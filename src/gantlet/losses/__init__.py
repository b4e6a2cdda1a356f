"""Losses and penalties: pure functions of logits and evidence. Importing this registers them."""

from gantlet.losses import (
    adversarial,
    anchors,
    consistency,
    contrastive,
    differences,
    divergences,
    energy,
    interpolated,
    kernels,
    latents,
    penalties,
    relative,
    transport,
    weights,
)

__all__ = [
    "adversarial",
    "anchors",
    "consistency",
    "contrastive",
    "differences",
    "divergences",
    "energy",
    "interpolated",
    "kernels",
    "latents",
    "penalties",
    "relative",
    "transport",
    "weights",
]
