"""Recipes: functions that return a complete Recipe. Importing this registers them."""

from gantlet.recipes import (
    alias_free,
    auto,
    classic,
    comparison,
    conditional,
    inference,
    info,
    modern,
    residual,
    semi,
    several,
    style,
)

__all__ = [
    "alias_free",
    "auto",
    "classic",
    "comparison",
    "conditional",
    "inference",
    "info",
    "modern",
    "residual",
    "semi",
    "several",
    "style",
]
