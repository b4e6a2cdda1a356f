"""Games, one idea a file. Importing this registers them."""

from gantlet.games import arena, classic, code, d2gan, gman, madgan

__all__ = ["arena", "classic", "code", "d2gan", "gman", "madgan"]
