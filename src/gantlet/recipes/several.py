"""Recipes of games of several critics or generators, on DCGAN's networks."""

from __future__ import annotations

from typing import Any

from gantlet.core.recipe import Recipe, about
from gantlet.core.registry import Tree, recipe, use


def _tree(game: str, **options: Any) -> Tree:
    return {
        "game": use(game, G=use("dcgan"), D=use("dcgan"), **options),
        "players": {name: use("adam", lr=2e-4, beta1=0.5, beta2=0.999) for name in ("D", "G")},
        "steps": 5_000,
    }


@recipe
@about(
    family="several networks",
    year=2017,
    paper="Durugkar, Gemp and Mahadevan 2017, arXiv:1611.01673",
    use="several critics: steadier advice for G",
)
def gman() -> Recipe:
    """DCGAN against five critics, whose losses are averaged for G (Durugkar et al. 2017: GMAN-0, N = 5).

    The paper keeps the minimax loss, since several critics seldom all saturate; from here, where they do, G still drew
    noise after 1,300 steps on MNIST, so it is the non-saturating one. `merge=learned` is their GMAN*, which micro-batches
    cannot play. The paper's critics differ in width and dropout; here they differ in how they begin.
    """
    return Recipe("gman", _tree("gman", critics=5, adversarial="non-saturating"))


@recipe
@about(
    family="several networks",
    year=2017,
    paper="Nguyen, Le, Vu and Phung 2017, arXiv:1709.03831",
    use="KL both ways, against dropped modes",
)
def d2gan() -> Recipe:
    """DCGAN between a critic for reals and one for fakes: KL both ways (Nguyen et al. 2017)."""
    return Recipe("d2gan", _tree("d2gan"))


@recipe.named("mad-gan")
@about(
    family="several networks",
    year=2018,
    paper="Ghosh, Kulharia, Namboodiri, Torr and Dokania 2018, arXiv:1704.02906",
    use="several generators for data of separate kinds",
)
def mad_gan() -> Recipe:
    """Four DCGAN generators against a critic that tells them apart (Ghosh et al. 2018).

    The paper ties the first layers of its generators; here each has its own.
    """
    return Recipe("mad-gan", _tree("mad-gan"))
