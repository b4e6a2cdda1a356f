"""InfoGAN's recipe."""

from __future__ import annotations

from gantlet.core.recipe import Recipe, about
from gantlet.core.registry import recipe, use


@recipe
@about(
    family="codes",
    year=2016,
    paper="Chen et al. 2016, arXiv:1606.03657",
    use="to find the kinds and the slants in data without labels",
)
def infogan() -> Recipe:
    """InfoGAN on MNIST: 62 noises, a ten-way code and two continuous ones (Chen et al. 2016, appendix C.1).

    Their rates, batch and 5,000 steps. DCGAN's networks differ by a layer: their G has one of 1,024 units before its
    first map, their D's layer of 1,024 a batch norm.
    """
    return Recipe(
        "infogan",
        {
            "game": use(
                "info",
                G=use("dcgan", z=74, width=64),
                D=use("dcgan", width=64, dense=1024, slope=0.1),
                categorical=(10,),
                continuous=2,
            ),
            "players": {"D": use("adam", lr=2e-4, beta1=0.5), "G": use("adam", lr=1e-3, beta1=0.5)},
            "average": use("ema", half_life_images=20_000),
            "batch": 128,
            "steps": 5_000,
        },
    )
