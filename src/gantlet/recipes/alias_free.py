"""Recipes of StyleGAN3 at the paper's settings, with a batch that one machine can play."""

from __future__ import annotations

from gantlet.core.recipe import Recipe, about
from gantlet.core.registry import recipe, use


@recipe.named("stylegan3-t")
@about(
    family="StyleGAN",
    year=2021,
    paper="Karras et al. 2021, arXiv:2106.12423",
    use="pictures that move: details stick to what is shown, not to the pixels",
)
def stylegan3_t() -> Recipe:
    """StyleGAN3, equivariant to translation (Karras et al. 2021, configuration T): alias-free generator, StyleGAN2's critic,
    lazy R1; no style mixing, no path length, no noise.

    A layer costs several of StyleGAN2's: for large data a graphics card. The paper sets gamma for each data set;
    `tricks.ada={}` for a few thousand pictures, as it does.
    """
    return Recipe(
        "stylegan3-t",
        {
            "game": use(
                "classic",
                G=use("style3"),
                D=use("style2", minibatch_std=True),
                adversarial="non-saturating",
                penalties={"r1": {"gamma": 1.0, "every": 16}},  # the paper's at 256 x 256; 32.8 at 1024 x 1024
            ),
            "players": {
                "D": use("adam", lr=2e-3, beta1=0.0, beta2=0.99),
                "G": use("adam", lr=2.5e-3, beta1=0.0, beta2=0.99),
            },
            "average": use("ema", half_life_images=10_000),
            "batch": 32,
            "steps": 50_000,  # the paper's: 25 million images on eight GPUs
        },
    )


@recipe.named("stylegan3-r")
@about(
    family="StyleGAN",
    year=2021,
    paper="Karras et al. 2021, arXiv:2106.12423",
    use="pictures without an upright: details turn with what is shown",
)
def stylegan3_r() -> Recipe:
    """StyleGAN3, equivariant to rotation too (Karras et al. 2021, configuration R): 1 x 1 convolutions twice as wide,
    radially symmetric filters, and a critic that sees blurred images for a start.
    """
    changed = stylegan3_t().override("G.rotation=true", "G.width=64", "G.widest=1024", "tricks.blurring={}")
    return Recipe("stylegan3-r", changed.tree)
