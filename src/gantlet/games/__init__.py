"""Games, one idea a file. Importing this registers them."""

from gantlet.games import classic, code

__all__ = ["classic", "code"]
