"""Latent tools: what a trained generator knows, made visible. Every tool takes a model (`gantlet.load(run)`)."""

from gantlet.explore.classes import morph
from gantlet.explore.directions import Directions, ganspace, sefa, show
from gantlet.explore.frames import write
from gantlet.explore.interpolate import by_leg, interpolate, walk
from gantlet.explore.invert import Inverted, invert, psnr
from gantlet.explore.mixing import mix
from gantlet.explore.space import Space, latents
from gantlet.explore.style import Style, style_of
from gantlet.explore.sweep import sweep
from gantlet.explore.traversal import traverse
from gantlet.explore.truncation import Truncated, truncated_normal, truncated_style

__all__ = [
    "Directions",
    "Inverted",
    "Space",
    "Style",
    "Truncated",
    "by_leg",
    "ganspace",
    "interpolate",
    "invert",
    "latents",
    "mix",
    "morph",
    "psnr",
    "sefa",
    "show",
    "style_of",
    "sweep",
    "traverse",
    "truncated_normal",
    "truncated_style",
    "walk",
    "write",
]
