"""Differentiable augmentation of what critics see, and its controllers. Importing this registers them."""

from gantlet.augment import adaptive, diff, pseudo

__all__ = ["adaptive", "diff", "pseudo"]
