"""Recipes of the models that GANs are compared with: one player each, and no adversary."""

from __future__ import annotations

from gantlet.core.recipe import Recipe, about
from gantlet.core.registry import Tree, recipe, use


def _adam(player: str, lr: float) -> Tree:
    return {player: use("adam", lr=lr, beta1=0.9, beta2=0.999)}  # nobody to chase: Adam as its paper has it


@recipe
@about(
    family="to compare with",
    year=2006,
    paper="Hinton and Salakhutdinov 2006, Science 313:504-507",
    use="compression; how well codes of a given width can do",
)
def autoencoder() -> Recipe:
    """An autoencoder with a code of 30, sampled by a Gaussian laid over its codes (Hinton and Salakhutdinov 2006).

    The paper's perceptrons were pretrained as Boltzmann machines; convolutions and Adam need no pretraining.
    """
    return Recipe(
        "autoencoder",
        {
            "game": use(
                "autoencoder",
                G=use("dcgan", z=30, width=32),  # the paper's code for MNIST has 30 units
                E=use("dcgan", width=32),
            ),
            "players": _adam("AE", 1e-3),
            "batch": 100,
            "steps": 5_000,
        },
    )


@recipe
@about(
    family="to compare with",
    year=2014,
    paper="Kingma and Welling 2014, arXiv:1312.6114",
    use="likelihood-based baseline; codes with a prior; stable, blurry",
)
def vae() -> Recipe:
    """A variational autoencoder with perceptrons of 500 units and Bernoulli pixels (Kingma and Welling 2014).

    For colour photos: `decoder=gaussian` and convolutions (`G.use=dcgan E.use=dcgan`). `beta=4` is Higgins et al. 2017.
    """
    return Recipe(
        "vae",
        {
            "game": use(
                "vae",
                # 20 latents: the width the paper's figure 2 finds best on MNIST; a rectifier in place of its tanh
                G=use("mlp", z=20, hidden=[500], slope=0.0),
                E=use("mlp", hidden=[500], slope=0.0),
                decoder="bernoulli",
            ),
            "players": _adam("AE", 1e-3),  # in place of Adagrad
            "batch": 100,
            "average": use("ema", half_life_images=20_000),
            "steps": 20_000,
        },
    )


@recipe
@about(
    family="to compare with",
    year=2008,
    paper="Smolensky 1986; Hinton 2002; Tieleman 2008, ICML, doi:10.1145/1390156.1390290",
    use="energy-based baseline; small binary-like images",
)
def rbm() -> Recipe:
    """A restricted Boltzmann machine with 500 hidden units and persistent chains, learning rate to zero (Tieleman 2008)."""
    return Recipe(
        "rbm",
        {
            "game": use("rbm", units=500, k=1, persistent=True, chains=100),
            "players": {
                "RBM": use(
                    "sgd",
                    lr=use("linear", start=0.1),  # to zero: chains keep up with weights only while these move slowly
                    weight_decay=1e-4,  # between Hinton's 2012 guide, which says 0.01 to 0.00001
                )
            },
            "batch": 100,
            "average": None,  # chains are those of the weights as they are
            "steps": 20_000,
        },
    )
