"""The recipe of semi-supervised learning with GANs."""

from __future__ import annotations

from gantlet.core.recipe import Recipe, about
from gantlet.core.registry import recipe, use


@recipe
@about(
    family="few labels",
    year=2016,
    paper="Salimans et al. 2016, arXiv:1606.03498",
    use="a classifier from few labels and many rows without",
)
def semi() -> Recipe:
    """Semi-supervised GAN of perceptrons, MNIST with 100 labels (Salimans et al. 2016, section 5.1: 0.93 % wrong)."""
    return Recipe(
        "semi",
        {
            "game": use("semi", G=use("semi-mlp"), D=use("semi-mlp", input_noise=0.3, noise=0.5)),
            "players": {"D": use("adam", lr=3e-3, beta1=0.5), "G": use("adam", lr=3e-3, beta1=0.5)},
            "average": use("ema", half_life_images=693_000),  # 1e-4 a step of 100
            "labelled": 100,
            "batch": 100,
            "steps": 60_000,  # 100 epochs of MNIST, hours on a processor; theirs are 300
        },
    )


@recipe.named("small-semi")
@about(
    family="few labels",
    year=2019,
    paper="Ji, Henriques and Vedaldi 2019, arXiv:1807.06653",
    use="the same from small images, in minutes on a processor",
)
def small_semi() -> Recipe:
    """Semi-supervised GAN of DCGAN's networks, whose D also learns from images without labels what slight changes leave
    as it is (Ji et al. 2019), MNIST with 100 labels."""
    cosine = use("cosine", start=1e-3)
    return Recipe(
        "small-semi",
        {
            "game": use(
                "semi",
                G=use("dcgan", width=16, z=100),
                D=use("dcgan", width=32, batch_norm=False, dense=128, init_std=None),
                invariance=2.0,
            ),
            "players": {p: use("adam", lr=cosine, beta1=0.5) for p in ("D", "G")},
            "average": use("ema", half_life_images=20_000),
            "labelled": 100,
            "batch": 100,
            "steps": 8_000,
        },
    )
