"""Recipes of the classic game, one function each; a variant calls another and overrides."""

from __future__ import annotations

from typing import Any

from gantlet.core.recipe import Recipe
from gantlet.core.registry import Tree, recipe, use


def _players(lr: Any, d_lr: Any = None, **options: Any) -> Tree:
    """Adam for both; D may have a rate of its own (two time scales: Heusel et al. 2017)."""
    return {"D": use("adam", lr=d_lr or lr, **options), "G": use("adam", lr=lr, **options)}


@recipe
def mlp() -> Recipe:
    """The first GAN: two perceptrons, 100-256-... (Goodfellow et al. 2014), with the non-saturating loss."""
    return Recipe(
        "mlp",
        {
            "game": use("classic", G=use("mlp"), D=use("mlp"), adversarial="non-saturating"),
            "players": _players(2e-4, beta1=0.5, beta2=0.999),
            "steps": 10_000,
        },
    )


@recipe
def dcgan() -> Recipe:
    """Convolutions, batch norm, Adam with beta1 0.5 (Radford, Metz and Chintala 2016)."""
    return Recipe(
        "dcgan",
        {
            "game": use("classic", G=use("dcgan"), D=use("dcgan"), adversarial="non-saturating"),
            "players": _players(2e-4, beta1=0.5, beta2=0.999),
            "steps": 5_000,
        },
    )


@recipe
def lsgan() -> Recipe:
    """DCGAN's networks with the least-squares loss (Mao et al. 2017)."""
    return Recipe("lsgan", dcgan().override("adversarial=least-squares").tree)


@recipe
def wgan() -> Recipe:
    """Five critic steps, weights clipped to 0.01, RMSProp (Arjovsky, Chintala and Bottou 2017, algorithm 1)."""
    changed = dcgan().override(
        "adversarial=wasserstein",
        "d_steps=5",
        "D.batch_norm=false",  # a critic judges single images
        players={"D": use("rmsprop", lr=5e-5, clip_weights=0.01), "G": use("rmsprop", lr=5e-5)},
    )
    return Recipe("wgan", changed.tree)


@recipe.named("wgan-gp")
def wgan_gp() -> Recipe:
    """Wasserstein with a gradient penalty of 10, five critic steps, Adam (0, 0.9) (Gulrajani et al. 2017)."""
    changed = dcgan().override(
        "adversarial=wasserstein",
        "penalties.gp.weight=10",
        "d_steps=5",
        "D.batch_norm=false",  # the penalty is on each image alone
        players=_players(1e-4, beta1=0.0, beta2=0.9),
    )
    return Recipe("wgan-gp", changed.tree)


@recipe
def sngan() -> Recipe:
    """Spectral normalisation and the hinge loss (Miyato et al. 2018)."""
    changed = dcgan().override(
        "adversarial=hinge",
        "D.batch_norm=false",
        "D.spectral=true",
        players=_players(2e-4, beta1=0.5, beta2=0.999),
    )
    return Recipe("sngan", changed.tree)


@recipe
def r1gan() -> Recipe:
    """Relativistic pair + R1 + R2, no normalisation (Huang et al. 2024): the one that converges."""
    return Recipe(
        "r1gan",
        {
            "game": use(
                "classic",
                G=use("cnn"),
                D=use("cnn"),
                adversarial="relativistic",
                penalties={"r1": {"gamma": 1.0}, "r2": {"gamma": 1.0}},
            ),
            "players": _players(2e-3, d_lr=1e-3, beta1=0.0, beta2=0.99),
            "steps": 5_000,
        },
    )


@recipe
def small() -> Recipe:
    """Small images in minutes on a processor: small networks, lazy R1 (Karras et al. 2020), a cosine to zero."""
    return Recipe(
        "small",
        {
            "game": use(
                "classic",
                G=use("dcgan", z=64, width=32, base=48, batch_norm=False, slope=0.2, init_std=None),
                D=use("dcgan", width=24, smallest=3, dense=64, batch_norm=False, init_std=None),
                adversarial="non-saturating",
                penalties={"r1": {"gamma": 1.0, "every": 8}},
            ),
            "players": {
                "D": use("adam", lr=use("cosine", start=3e-3)),
                "G": use("adam", lr=use("cosine", start=4e-3)),
            },
            "average": use("ema", half_life_images=50_000, ramp_up=0.05),
            "steps": 12_000,
        },
    )
