"""Recipes: functions that return a complete Recipe. Importing this registers them."""

from gantlet.recipes import auto, classic, several

__all__ = ["auto", "classic", "several"]
