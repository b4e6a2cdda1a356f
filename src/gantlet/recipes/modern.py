"""Recipes of today's image GANs: R3GAN, FastGAN for small sets, a transformer against a transformer."""

from __future__ import annotations

from gantlet.core.recipe import Recipe, about
from gantlet.core.registry import recipe, use


@recipe
@about(
    family="R3GAN",
    year=2024,
    paper="Huang et al. 2024, arXiv:2501.05441",
    use="the strong default: no tricks, stable, diverse",
)
def r3gan() -> Recipe:
    """Relativistic pairs, R1 and R2 on residual networks without normalisation (R3GAN: Huang et al. 2024).

    For one machine: a few per cent of the paper's weights and a batch of 64. Its CIFAR-10 is `G.width=768 D.width=768
    G.widest=768 D.widest=768 G.blocks=2 D.blocks=2 conditional=true batch=512`, gamma 0.05 -> 0.005, lr 2e-4 -> 5e-5.
    """
    networks = {"width": 32, "widest": 256, "blocks": 1}  # the paper's 768, 768, 2 take eight GPUs
    # the paper lets gamma fall tenfold while it burns in; its 0.05 at 32 x 32 is for a batch of 512
    gamma = use("cosine", start=1.0, end=0.1)
    # 2e-4 -> 5e-5 over twenty million images there; narrow networks and a short training want ten times that
    lr = use("cosine", start=2e-3, end=5e-4)
    return Recipe(
        "r3gan",
        {
            "game": use(
                "classic",
                G=use("r3", **networks),
                D=use("r3", **networks),
                adversarial="relativistic",
                penalties={"r1": {"gamma": gamma}, "r2": {"gamma": gamma}},  # every step: lazily they fail
            ),
            # beta2 goes from 0.9 to 0.99 in the paper; here it is where it ends
            "players": {p: use("adam", lr=lr, beta1=0.0, beta2=0.99) for p in ("D", "G")},
            # the paper's half-life grows from 0 to 5 million images: a share of those seen, until then
            "average": use("ema", half_life_images=5e6, ramp_up=0.05),
            "steps": 20_000,
        },
    )


@recipe
@about(
    family="FastGAN",
    year=2021,
    paper="Liu et al. 2021, arXiv:2101.04775",
    use="tens to thousands of images, high resolution, one GPU",
)
def fastgan() -> Recipe:
    """Skip-layer excitation and a critic that must remember what it saw, for little data (FastGAN: Liu et al. 2021)."""
    return Recipe(
        "fastgan",
        {
            "game": use(
                "classic",
                G=use("fastgan", width=32, widest=512),  # half the paper's 64 and 1024: it trains on one GPU for hours
                D=use("fastgan", width=32, widest=512, spectral=True),
                adversarial="hinge",
                tricks={
                    "diffaugment": {"policy": ["color", "translation"]},  # of all models the paper compares
                    "self-supervised": {},
                },
            ),
            "players": {p: use("adam", lr=2e-4, beta1=0.5, beta2=0.999) for p in ("D", "G")},
            "average": use("ema", half_life_images=5_500, ramp_up=0.1),  # 0.999 a step of 8
            "batch": 8,
            "steps": 50_000,
        },
    )


@recipe
@about(
    family="transformer",
    year=2025,
    paper="Hyun, Lee and Heo 2025, arXiv:2509.24935",
    use="a plain transformer on both sides; penalties that need no second derivative",
)
def gat() -> Recipe:
    """A transformer against a transformer: relativistic pairs, R1 and R2 by differences (GAT: Hyun, Lee and Heo 2025).

    On pixels and for one machine: the paper plays on an autoencoder's codes of 256 x 256 images with widths of 384 to
    1152, guides the first layers by noised pictures of their own, and scales learning rates with 1 / width.
    """
    networks = {"width": 128, "depth": 4, "heads": 4, "patch": 4}
    lr = use("cosine", start=5e-4, end=1e-4)  # for this width; halve it where the width is doubled
    return Recipe(
        "gat",
        {
            "game": use(
                "classic",
                G=use("vit", **networks),
                D=use("vit", **networks),
                adversarial="relativistic",
                # at 1, on digits, D hardly tells the sides apart
                penalties={"fd-r1": {"gamma": 0.1}, "fd-r2": {"gamma": 0.1}},
            ),
            "players": {p: use("adam", lr=lr, beta1=0.0, beta2=0.99) for p in ("D", "G")},
            "average": use("ema", half_life_images=500_000, ramp_up=0.05),
            "steps": 20_000,
        },
    )
