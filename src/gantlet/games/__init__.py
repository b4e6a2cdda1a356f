"""Games, one idea a file. Importing this registers them."""

from gantlet.games import classic

__all__ = ["classic"]
