"""The features on which other packages were asked, drawn the same on every machine."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from gantlet.core.noise import normal

RECORD = Path(__file__).parent / "neighbours_recorded.json"
TAU = 0.5  # of MiFID: some cases are under it, some over
BINOMIAL = [(5, 10, 0.5), (60, 100, 0.5), (999, 1000, 0.95), (1, 50, 0.3), (30_500, 60_000, 0.5)]
# reals, fakes, held-out reals, dimensions; fakes are shift + scale * normal, `copies` of them reals with a little noise
CASES = {
    "alike": (400, 400, 200, 16, 0.0, 1.0, 0),
    "narrow": (300, 500, 200, 64, 0.3, 0.8, 0),
    "wide": (500, 250, 100, 4, 0.0, 1.5, 0),
    "copies": (400, 300, 150, 8, 0.0, 1.0, 200),
    "far off": (300, 300, 150, 32, 0.2, 1.0, 30),
}
AT = {"far off": 100.0}  # where all of it lies: the squares are a thousand times the distances


def sides(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """(real [n, d], fake [m, d], held-out real [h, d])"""
    n, m, h, d, shift, scale, copies = CASES[name]
    real, fake, held = (
        normal((d,), c, key=("neighbours", name, s)) for s, c in (("real", n), ("fake", m), ("held", h))
    )
    fake = shift + scale * fake
    fake[:copies] = real[:copies] + 0.01 * fake[:copies]
    at = AT.get(name, 0.0)
    return real + at, fake + at, held + at
