"""Recipes: functions that return a complete Recipe. Importing this registers them."""

from gantlet.recipes import classic

__all__ = ["classic"]
