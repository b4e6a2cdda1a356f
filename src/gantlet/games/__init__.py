"""Games, one idea a file. Importing this registers them."""

from gantlet.games import aae, arena, autoencoder, bigan, classic, code, d2gan, gman, info, madgan, rbm, semi, vae

__all__ = [
    "aae",
    "arena",
    "autoencoder",
    "bigan",
    "classic",
    "code",
    "d2gan",
    "gman",
    "info",
    "madgan",
    "rbm",
    "semi",
    "vae",
]
