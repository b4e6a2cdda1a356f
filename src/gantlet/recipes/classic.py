"""Recipes of the classic game, one function each; a variant calls another and overrides."""

from __future__ import annotations

from typing import Any

from gantlet.core.recipe import Recipe, about
from gantlet.core.registry import Tree, recipe, use


def _players(lr: Any, d_lr: Any = None, **options: Any) -> Tree:
    """Adam for both; D may have a rate of its own (two time scales: Heusel et al. 2017)."""
    return {"D": use("adam", lr=d_lr or lr, **options), "G": use("adam", lr=lr, **options)}


@recipe
@about(
    family="perceptrons",
    year=2014,
    paper="Goodfellow et al. 2014, arXiv:1406.2661",
    use="the smallest GAN: points and tiny images, first tries",
)
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
@about(
    family="perceptrons",
    year=2014,
    paper="Goodfellow et al. 2014, arXiv:1406.2661",
    use="the first GAN as published, for MNIST",
)
def gan2014() -> Recipe:
    """The first GAN as published for MNIST: rectifiers against maxout, both by SGD (Goodfellow et al. 2014).

    G 100-1200-1200-784, D 784-240-240-1 of five pieces with dropout, batches of 100; no row of D's weights is longer than
    1.9365, which maxout came with (Goodfellow et al. 2013). Not taken over: latents are normal here, not uniform; the last
    bias of G does not begin at the data's marginals; momentum stays where it began.
    """
    decay, steps = 1.000004, 1_000_000  # 0.1 is divided by this at every step, whatever the length of the training
    sgd = use(
        "sgd",
        lr=use("exponential", start=0.1, end=0.1 / decay**steps, steps=steps),
        momentum=0.5,  # it rises to 0.7 over 250 epochs, of which this is a fifth or less
    )
    uniform = 3**-0.5  # the deviation of numbers drawn evenly from -1 to 1
    return Recipe(
        "gan2014",
        {
            "game": use(
                "classic",
                G=use("mlp", z=100, hidden=[1200, 1200], slope=0.0, init_std=0.05 * uniform),
                D=use(
                    "maxout",
                    hidden=[240, 240],
                    pieces=5,
                    dropout=0.5,
                    input_dropout=0.2,
                    unit=True,
                    init_std=0.005 * uniform,
                ),
                adversarial="non-saturating",
            ),
            "players": {"D": {**sgd, "max_norm": 1.9365}, "G": sgd},
            "batch": 100,
            "steps": 30_000,
        },
    )


@recipe
@about(
    family="DCGAN",
    year=2016,
    paper="Radford, Metz and Chintala 2016, arXiv:1511.06434",
    use="the common baseline, small to 64 x 64 images",
)
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
@about(
    family="DCGAN",
    year=2017,
    paper="Mao et al. 2017, arXiv:1611.04076",
    use="DCGAN with gradients that do not saturate",
)
def lsgan() -> Recipe:
    """DCGAN's networks with the least-squares loss (Mao et al. 2017)."""
    return Recipe("lsgan", dcgan().override("adversarial=least-squares").tree)


@recipe
@about(
    family="DCGAN",
    year=2017,
    paper="Arjovsky, Chintala and Bottou 2017, arXiv:1701.07875",
    use="a loss that follows sample quality; history",
)
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
@about(
    family="DCGAN",
    year=2017,
    paper="Gulrajani et al. 2017, arXiv:1704.00028",
    use="slow and steady, forgiving of architectures",
)
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
@about(
    family="DCGAN",
    year=2018,
    paper="Miyato, Kataoka, Koyama and Yoshida 2018, arXiv:1802.05957",
    use="one critic step, no penalty: cheap and stable",
)
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
@about(
    family="DCGAN",
    year=2024,
    paper="Huang, Gokaslan, Kuleshov and Tompkin 2024, arXiv:2501.05441",
    use="the one that converges: a strong small default",
)
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
@about(
    family="DCGAN",
    year=2020,
    paper="Karras et al. 2020, arXiv:1912.04958",
    use="small images in minutes on a processor",
)
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
