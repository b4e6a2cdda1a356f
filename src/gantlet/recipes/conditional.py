"""Recipes that are told the class, on the networks of the first GAN and of DCGAN."""

from __future__ import annotations

from gantlet.core.recipe import Recipe, about
from gantlet.core.registry import recipe, use
from gantlet.recipes.classic import dcgan, gan2014, small


@recipe
@about(
    family="conditional",
    year=2014,
    paper="Mirza and Osindero 2014, arXiv:1411.1784",
    use="the first conditional GAN, for MNIST",
)
def cgan() -> Recipe:
    """The first GAN's networks with labels beside z and beside x (Mirza and Osindero 2014).

    Where the paper has first layers of their own for labels (1000 units beside 200 for z in G, 50 beside 240 for x in D),
    here one first layer reads both, as wide, and labels are learned codes of 50: one-hot ones were too faint beside
    the rest, and digits came whatever was asked for. Adam instead of the paper's SGD from a rate of 0.1, with which D
    ran away within 400 steps of MNIST or G drew ones and zeros alone. Latents are normal, not uniform; G has no dropout;
    the joint layer of D has 5 pieces instead of 4.
    """
    changed = gan2014().override(
        "conditional=true", "tricks.concat-labels.embed=50", "D.input_dropout=0.0", "D.hidden=[290, 240]",
        players={p: use("adam", lr=2e-4, beta1=0.5, beta2=0.999) for p in "DG"},
    )  # fmt: skip
    return Recipe("cgan", changed.tree)


@recipe
@about(
    family="conditional",
    year=2017,
    paper="Odena, Olah and Shlens 2017, arXiv:1610.09585",
    use="classes that a classifier can tell, up to some ten of them",
)
def acgan() -> Recipe:
    """DCGAN whose critic also says the class, of reals and of fakes (Odena, Olah and Shlens 2017).

    G reads one-hot labels beside z. The paper's critics have dropout and, on CIFAR-10, activation noise instead of
    nothing; every class is shown equally often here.
    """
    changed = dcgan().override(
        "conditional=true", "tricks.concat-labels.role=G", "tricks.ac-gan={}", balanced=True, batch=100, steps=10_000
    )
    return Recipe("acgan", changed.tree)


@recipe.named("projection-gan")
@about(
    family="conditional",
    year=2018,
    paper="Miyato and Koyama 2018, arXiv:1802.05637",
    use="the usual way to tell the class, for any number of them",
)
def projection_gan() -> Recipe:
    """DCGAN with a spectrally normalised critic that projects its features on the class, hinge loss (Miyato and Koyama
    2018).

    The paper has ResNets with conditional batch norm, 5 steps of D and 450,000 of G; here G reads labels beside z, and D
    takes one step (setting C of Miyato et al. 2018).
    """
    return Recipe("projection-gan", _spectral("tricks.projection={}").tree)


@recipe
@about(
    family="conditional",
    year=2021,
    paper="Kang, Shim, Cho and Park 2021, arXiv:2111.01118",
    use="many classes without AC-GAN's collapse",
)
def reacgan() -> Recipe:
    """DCGAN with a spectrally normalised critic, hinge loss and the data-to-data cross-entropy on the sphere (Kang et al.
    2021), weighted as for CIFAR-10.

    The paper has BigGAN's networks and 5 steps of D; here G reads labels beside z, and D takes one step.
    """
    return Recipe("reacgan", _spectral("tricks.reacgan={}").tree)


def _spectral(trick: str) -> Recipe:
    """DCGAN told the class by a trick, as Miyato et al. 2018 train it."""
    return dcgan().override(
        "conditional=true", "tricks.concat-labels.role=G", trick, "adversarial=hinge", "D.batch_norm=false",
        "D.spectral=true", balanced=True, steps=10_000,
    )  # fmt: skip


@recipe.named("small-labelled")
@about(
    family="conditional",
    year=2017,
    paper="Odena, Olah and Shlens 2017, arXiv:1610.09585",
    use="small labelled images in minutes on a processor, by class",
)
def small_labelled() -> Recipe:
    """The recipe `small`, told the class: labels beside G's latent, a critic that also says the class (Odena, Olah and
    Shlens 2017), R1 instead of norms.

    Without batch norm and with a smooth critic the auxiliary classifier does not impoverish the classes of MNIST.
    """
    changed = small().override(
        "conditional=true", "tricks.concat-labels.role=G", "tricks.ac-gan={}", balanced=True, steps=12_000
    )
    return Recipe("small-labelled", changed.tree)
