"""Recipes of games of several critics or generators, on DCGAN's networks."""

from __future__ import annotations

from typing import Any

from gantlet.core.recipe import Recipe
from gantlet.core.registry import Tree, recipe, use


def _tree(game: str, **options: Any) -> Tree:
    return {
        "game": use(game, G=use("dcgan"), D=use("dcgan"), **options),
        "players": {name: use("adam", lr=2e-4, beta1=0.5, beta2=0.999) for name in ("D", "G")},
        "steps": 5_000,
    }


@recipe
def gman() -> Recipe:
    """DCGAN against three critics, whose losses are averaged for G (Durugkar et al. 2017: GMAN-0).

    `merge=learned` is their GMAN*, which micro-batches cannot play.
    """
    return Recipe("gman", _tree("gman"))


@recipe
def d2gan() -> Recipe:
    """DCGAN between a critic for reals and one for fakes: KL both ways (Nguyen et al. 2017)."""
    return Recipe("d2gan", _tree("d2gan"))


@recipe.named("mad-gan")
def mad_gan() -> Recipe:
    """Four DCGAN generators against a critic that tells them apart (Ghosh et al. 2018)."""
    return Recipe("mad-gan", _tree("mad-gan"))
