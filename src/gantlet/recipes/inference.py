"""Recipes of games that learn to look back: codes of samples beside samples of codes."""

from __future__ import annotations

from gantlet.core.recipe import Recipe, about
from gantlet.core.registry import recipe, use


@recipe
@about(
    family="with an encoder",
    year=2016,
    paper="Makhzani, Shlens, Jaitly, Goodfellow and Frey 2016, arXiv:1511.05644",
    use="an autoencoder that can be sampled: codes shaped like a prior",
)
def aae() -> Recipe:
    """An adversarial autoencoder: 8 latents, perceptrons of 1000-1000 units, a critic of codes (Makhzani et al. 2016).

    The prior is standard normal, where the paper's for MNIST has a deviation of 5: a unit of the code.
    """
    hidden = [1000, 1000]
    # the paper's SGD with momentum has rates of its own for each phase that it does not print. These are the balance: AE
    # five times as quick as E restores digits better than at twice, and their codes are as near to the prior
    adam = {"beta1": 0.5, "beta2": 0.999}
    return Recipe(
        "aae",
        {
            "game": use(
                "aae",
                G=use("mlp", z=8, hidden=hidden, slope=0.0),
                E=use("mlp", hidden=hidden, slope=0.0),
                D=use("mlp", hidden=hidden),
                adversarial="non-saturating",
            ),
            "players": {
                "AE": use("adam", lr=1e-3, beta1=0.9, beta2=0.999),
                "D": use("adam", lr=2e-4, **adam),
                "E": use("adam", lr=2e-4, **adam),
            },
            "batch": 100,
            "steps": 10_000,
        },
    )


@recipe
@about(
    family="with an encoder",
    year=2017,
    paper="Donahue, Krahenbuhl and Darrell 2017, arXiv:1605.09782",
    use="a GAN with an encoder: features without labels, inversion by one forward",
)
def bigan() -> Recipe:
    """A bidirectional GAN: 50 latents, D reads (x, z), Adam at 2e-4 with beta1 0.5 (Donahue et al. 2017).

    Convolutions of DCGAN's make in place of the paper's perceptrons (MNIST) and AlexNet (ImageNet), normal latents in
    place of uniform ones, R1 on pairs, a constant rate where the paper lets it fall in the second half.
    """
    adam = use("adam", lr=2e-4, beta1=0.5, beta2=0.999, weight_decay=2.5e-5)
    return Recipe(
        "bigan",
        {
            "game": use(
                "bigan",
                G=use("dcgan", z=50),
                E=use("dcgan"),
                D=use("joint"),
                adversarial="non-saturating",
                penalties={"r1": {"gamma": 1.0}},  # not the paper's: D of pairs runs away from small sets without it
            ),
            "players": {"D": adam, "GE": adam},
            "batch": 128,
            "steps": 10_000,
        },
    )


@recipe
@about(
    family="with an encoder",
    year=2017,
    paper="Dumoulin et al. 2017, arXiv:1606.00704",
    use="a GAN with a stochastic encoder",
)
def ali() -> Recipe:
    """Adversarially learned inference: z is drawn from E's Gaussian, D has dropout, Adam at 1e-4 (Dumoulin et al. 2017).

    Of the paper's CIFAR-10 table: 64 latents, slopes of 0.1, batches of 100, weights of deviation 0.01. Its maxout layers
    and unit strides are not, nor is its 0.5 dropout, which is for them: 0.2 is what its SVHN table has.
    """
    adam = use("adam", lr=1e-4, beta1=0.5, beta2=0.999)
    made: dict[str, float] = {"slope": 0.1, "init_std": 0.01}
    return Recipe(
        "ali",
        {
            "game": use(
                "bigan",
                G=use("dcgan", z=64, **made),
                E=use("dcgan", **made),
                D=use("joint", dropout=0.2, **made),
                stochastic=True,
                adversarial="non-saturating",
            ),
            "players": {"D": adam, "GE": adam},
            "batch": 100,
            "steps": 20_000,
        },
    )
