"""On which images each recipe is measured in the zoo, and what makes it small enough for minutes on a processor."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """A set of bench/zoo.py and changes to the recipe."""

    set: str
    changes: tuple[str, ...] = ()


DCGAN = ("G.width=32", "D.width=32")
NARROW = ("G.width=16", "G.widest=128", "D.width=16", "D.widest=128")
STYLE = (*NARROW, "G.z=64", "G.w=64", "batch=16")

ENTRIES: dict[str, Entry] = {
    "mlp": Entry("mnist"),
    "gan2014": Entry("mnist"),
    "dcgan": Entry("mnist", DCGAN),
    "small": Entry("mnist"),
    "r1gan": Entry("mnist"),
    "lsgan": Entry("mnist", DCGAN),
    "wgan": Entry("mnist", DCGAN),
    "wgan-gp": Entry("mnist", DCGAN),
    "sngan": Entry("mnist", DCGAN),
    "gman": Entry("mnist", DCGAN),
    "d2gan": Entry("mnist", DCGAN),
    "mad-gan": Entry("mnist", DCGAN),
    "cgan": Entry("mnist"),
    "acgan": Entry("mnist", DCGAN),
    "projection-gan": Entry("mnist", DCGAN),
    "reacgan": Entry("mnist", DCGAN),
    "small-labelled": Entry("mnist"),
    "infogan": Entry("mnist"),
    "semi": Entry("mnist"),
    "aae": Entry("mnist"),
    "bigan": Entry("mnist"),
    "ali": Entry("mnist"),
    "autoencoder": Entry("mnist"),
    "vae": Entry("mnist"),
    "rbm": Entry("mnist"),
    "wgan-gp-resnet": Entry("eurosat", NARROW),
    "sngan-resnet": Entry("eurosat", NARROW),
    "sngan-projection": Entry("eurosat", NARROW),
    "sagan": Entry("eurosat", NARROW),
    "biggan": Entry("eurosat", NARROW),
    "biggan-deep": Entry("eurosat", NARROW),
    "progan": Entry(
        "eurosat",
        (*NARROW, "G.z=64", "batch=16"),
    ),
    "stylegan": Entry("eurosat", STYLE),
    "stylegan2": Entry("eurosat", STYLE),
    "stylegan2-small": Entry("eurosat"),
    "stylegan2-ada": Entry("eurosat", STYLE),
    "stylegan3-t": Entry("eurosat", STYLE),
    "stylegan3-r": Entry("eurosat", STYLE),
    "fastgan": Entry("eurosat", (*NARROW, "G.z=64")),
    "r3gan": Entry("eurosat", NARROW),
    "gat": Entry("eurosat", ("G.width=64", "D.width=64", "G.depth=3", "D.depth=3")),
}
