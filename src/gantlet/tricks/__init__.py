"""Tricks: remedies around the losses that compose with every game. Importing this registers them."""

from gantlet.tricks import (
    discrimination,
    features,
    history,
    labels,
    latents,
    noise,
    packing,
    pool,
    stddev,
    topk,
    virtual,
)

__all__ = [
    "discrimination",
    "features",
    "history",
    "labels",
    "latents",
    "noise",
    "packing",
    "pool",
    "stddev",
    "topk",
    "virtual",
]
