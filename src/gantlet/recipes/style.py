"""Recipes of ProGAN and the StyleGANs at the papers' settings, with batches and widths that one machine can play."""

from __future__ import annotations

from gantlet.core.recipe import Recipe, about
from gantlet.core.registry import Tree, recipe, use


def _players(lr: float) -> Tree:
    """Adam without momentum for both, as in all four papers."""
    return {name: use("adam", lr=lr, beta1=0.0, beta2=0.99) for name in ("D", "G")}


@recipe
@about(
    family="ProGAN",
    year=2018,
    paper="Karras et al. 2018, arXiv:1710.10196",
    use="large images from small ones, growing layer by layer",
)
def progan() -> Recipe:
    """Progressive growing with the Wasserstein loss and a gradient penalty (Karras et al. 2018).

    Each size and each fade take as many images as let the networks be full-grown after half of the steps: 40,000 here at
    64 x 64, the paper's 800,000. With `tricks.growing.stage_images` and `fade_images` the last of k doublings is
    in full use after k times both; a run that ends before that ends with smaller images, their pixels repeated.
    """
    return Recipe(
        "progan",
        {
            "game": use(
                "classic",
                G=use("progan"),
                D=use("progan", minibatch_std=True),
                adversarial="wasserstein",
                penalties={"gp": {"weight": 10.0}, "logit-l2": {"weight": 0.001}},
                tricks={"growing": {}},
            ),
            "players": _players(1e-3),
            "average": use("ema", half_life_images=10_000),  # the paper's 0.999 a batch of 16
            "batch": 32,
            "steps": 20_000,  # the paper's: 12 million images on eight GPUs
        },
    )


@recipe
@about(
    family="StyleGAN",
    year=2019,
    paper="Karras et al. 2019, arXiv:1812.04948",
    use="images whose coarse and fine features are mixed by styles",
)
def stylegan() -> Recipe:
    """Styles through instance norms, noise, style mixing, R1 (Karras et al. 2019).

    Full-grown from the first step: at the sizes one machine trains, growing wins nothing; `tricks.growing={}` adds it.
    """
    return Recipe(
        "stylegan",
        {
            "game": use(
                "classic",
                G=use("style"),
                D=use("progan", filtered=True, minibatch_std=True),
                adversarial="non-saturating",
                penalties={"r1": {"gamma": 10.0}},
            ),
            "players": _players(1e-3),  # the paper's up to 128 x 128; 1.5e-3 to 3e-3 beyond
            "average": use("ema", half_life_images=10_000),
            "batch": 32,
            "steps": 50_000,  # the paper's: 25 million images
        },
    )


@recipe
@about(
    family="StyleGAN",
    year=2020,
    paper="Karras et al. 2020, arXiv:1912.04958",
    use="the best images of one kind, from 50,000 pictures or more",
)
def stylegan2() -> Recipe:
    """Modulated convolutions, residual critic, lazy R1, path length in w (Karras et al. 2020, configuration F).

    The penalties ride on the step they are due in, so the rates need no correction for steps of their own.
    """
    return Recipe(
        "stylegan2",
        {
            "game": use(
                "classic",
                G=use("style2"),
                D=use("style2", minibatch_std=True),
                adversarial="non-saturating",
                penalties={
                    "r1": {"gamma": 10.0, "every": 16},
                    "path-length": {"weight": 2.0, "every": 4, "of": "w"},
                },
            ),
            "players": _players(2e-3),
            "average": use("ema", half_life_images=10_000),
            "batch": 32,
            "steps": 50_000,  # the paper's: 25 million images
        },
    )


@recipe.named("stylegan2-ada")
@about(
    family="StyleGAN",
    year=2020,
    paper="Karras et al. 2020, arXiv:2006.06676",
    use="a few thousand pictures, with or without classes",
)
def stylegan2_ada() -> Recipe:
    """StyleGAN2 whose critic sees adaptively augmented images, two mapping layers (Karras et al. 2020, "Training generative
    adversarial networks with limited data").

    `conditional=true` tells both networks the class: the mapping by an embedding, the critic by a mapped projection.
    """
    changed = stylegan2().override(
        "tricks.ada.target=0.6",
        "G.mapping_layers=2",  # shallower mappings train more evenly on little data (the paper's appendix D)
        "penalties.r1.gamma=0.03",  # 0.0002 pixels / batch (the paper's appendix C), at 64 x 64
        players=_players(2.5e-3),
        average=use("ema", half_life_images=10_000, ramp_up=0.05),
    )
    return Recipe("stylegan2-ada", changed.tree)


@recipe.named("stylegan2-small")
@about(
    family="StyleGAN",
    year=2020,
    paper="Karras et al. 2020, arXiv:1912.04958",
    use="styles for small images, on a processor",
)
def stylegan2_small() -> Recipe:
    """StyleGAN2 (Karras et al. 2020), narrow, with a short mapping and without path length: for one processor."""
    changed = stylegan2().override(
        "penalties.path-length=null",  # a third of the time, for smoothness that small images do not show
        "penalties.r1.gamma=1",
        "G.z=64",
        "G.w=64",
        "G.mapping_layers=2",
        "G.width=16",
        "G.widest=96",
        "D.width=16",
        "D.widest=96",
        "steps=10000",
    )
    return Recipe("stylegan2-small", changed.tree)
