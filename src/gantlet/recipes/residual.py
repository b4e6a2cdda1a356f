"""Recipes of residual networks: WGAN-GP, SNGAN, SAGAN, BigGAN and BigGAN-deep."""

from __future__ import annotations

from typing import Any

from gantlet.core.recipe import Recipe, about
from gantlet.core.registry import Tree, recipe, use


def _players(g: Any, d: Any, *, beta2: float) -> Tree:
    """Adam without momentum for both, a rate for each (two time scales: Heusel et al. 2017)."""
    return {"D": use("adam", lr=d, beta1=0.0, beta2=beta2), "G": use("adam", lr=g, beta1=0.0, beta2=beta2)}


@recipe.named("wgan-gp-resnet")
@about(
    family="ResNet",
    year=2017,
    paper="Gulrajani et al. 2017, arXiv:1704.00028",
    use="WGAN-GP on photographs: slow, hard to break",
)
def wgan_gp_resnet() -> Recipe:
    """Residual networks under a Wasserstein loss with a gradient penalty of 10 (Gulrajani et al. 2017, CIFAR-10).

    The paper plays 100,000 steps, with twice the batch in the generator's turn; here both turns see one batch.
    """
    lr = use("linear", start=2e-4)  # to zero at the end
    return Recipe(
        "wgan-gp-resnet",
        {
            "game": use(
                "classic",
                G=use("resnet", width=128, widest=128),
                D=use("resnet", width=128, widest=128, smallest=7, plain=2, pool="mean"),
                adversarial="wasserstein",
                penalties={"gp": {"weight": 10.0}},
                d_steps=5,
            ),
            "players": _players(lr, lr, beta2=0.9),
            "steps": 20_000,
        },
    )


@recipe.named("sngan-resnet")
@about(
    family="ResNet",
    year=2018,
    paper="Miyato et al. 2018, arXiv:1802.05957",
    use="photographs of 32 x 32 to 128 x 128 without labels",
)
def sngan_resnet() -> Recipe:
    """Residual networks, the critic's spectrally normalised, hinge loss (Miyato et al. 2018, table 4, CIFAR-10).

    Five critic steps, Adam (0, 0.9). The paper plays 50,000 to 100,000 steps, with twice the batch in the generator's
    turn; here both turns see one batch. At 48 x 48 and more its tables 5 and 6 are narrower at the full size:
    `G.width=64 G.widest=1024 D.width=64 D.widest=1024 D.smallest=4 D.plain=1`.
    """
    lr = use("linear", start=2e-4)  # to zero at the end
    return Recipe(
        "sngan-resnet",
        {
            "game": use(
                "classic",
                G=use("resnet", width=256, widest=256),
                D=use("resnet", width=128, widest=128, smallest=7, plain=2, spectral=True),
                adversarial="hinge",
                d_steps=5,
            ),
            "players": _players(lr, lr, beta2=0.9),
            "steps": 20_000,
        },
    )


@recipe.named("sngan-projection")
@about(
    family="ResNet",
    year=2018,
    paper="Miyato and Koyama 2018, arXiv:1802.05637",
    use="photographs with labels: the plainest conditional GAN that works",
)
def sngan_projection() -> Recipe:
    """SNGAN told the class: batch norms with a gain for each in G, a projection in D (Miyato and Koyama 2018)."""
    return Recipe("sngan-projection", sngan_resnet().override("conditional=true").tree)


@recipe
@about(
    family="ResNet",
    year=2019,
    paper="Zhang et al. 2019, arXiv:1805.08318",
    use="photographs with labels whose parts must fit far apart",
)
def sagan() -> Recipe:
    """Self-attention at 32 x 32, spectral norm in G and D, one critic step at four times G's rate (Zhang et al. 2019).

    The paper's batch is 256 on four processors, its training a million steps.
    """
    return Recipe(
        "sagan",
        {
            "game": use(
                "classic",
                G=use("resnet", width=64, widest=1024, spectral=True, attention=32),
                D=use("resnet", width=64, widest=1024, spectral=True, attention=32),
                adversarial="hinge",
                conditional=True,
            ),
            "players": _players(1e-4, 4e-4, beta2=0.9),
            "steps": 20_000,
        },
    )


def _biggan(name: str, G: Tree, D: Tree) -> Recipe:
    """What BigGAN and BigGAN-deep have in common: all but the networks."""
    return Recipe(
        name,
        {
            "game": use(
                "classic",
                G=G,
                D=D,
                adversarial="hinge",
                penalties={"orthogonal": {"critics": False, "generator": True, "weight": 1e-4}},
                conditional=True,
                d_steps=2,
            ),
            # SAGAN's rates, for batches as small as these; the paper halves them for 2,048 images a step
            "players": _players(1e-4, 4e-4, beta2=0.999),
            "average": use("ema", half_life_images=64 * 6_931),  # a decay of 0.9999 a step halves in 6,931
            "standing": 16,  # averaged weights have statistics of their own
            "steps": 20_000,
        },
    )


@recipe
@about(
    family="BigGAN",
    year=2019,
    paper="Brock, Donahue and Simonyan 2019, arXiv:1809.11096",
    use="many classes of photographs; samples can be truncated",
)
def biggan() -> Recipe:
    """BigGAN: a latent in chunks, one embedding for all norms, orthogonal regularisation, hinge (Brock et al. 2019).

    Sized for one machine: batch 64 where the paper has 2,048, channels in multiples of 64 where it has 96
    (`G.width=96 D.width=96`), and its rates for small batches.
    """
    return _biggan("biggan", use("biggan", width=64), use("biggan", width=64))


@recipe.named("biggan-deep")
@about(
    family="BigGAN",
    year=2019,
    paper="Brock, Donahue and Simonyan 2019, arXiv:1809.11096",
    use="as biggan, deeper with fewer weights",
)
def biggan_deep() -> Recipe:
    """BigGAN-deep: bottlenecked blocks, the whole latent and the class to every norm, hinge (Brock et al. 2019).

    Sized for one machine: batch 64 where the paper has 2,048, channels in multiples of 64 where it has 128.
    """
    return _biggan("biggan-deep", use("biggan-deep", width=64), use("biggan-deep", width=64))
