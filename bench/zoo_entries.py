"""On which images each recipe is measured in the zoo, and what makes it small enough for minutes on a processor."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """A set of bench/zoo.py and changes to the recipe."""

    set: str
    changes: tuple[str, ...] = ()


DCGAN = ("G.width=32", "D.width=32")
THIN = ("G.width=16", "D.width=16")
JOINT = (*THIN, "E.width=16", "batch=64", "players.D.lr=5e-4", "players.GE.lr=5e-4")
NARROW = ("G.width=8", "G.widest=64", "D.width=8", "D.widest=64", "batch=32")
QUICK = ("players.D.lr=1e-3", "players.G.lr=5e-4")  # the papers' steps are of a hundred times as many
THRICE = ("players.D.lr=3e-3", "players.G.lr=3e-3")  # of the papers' 1e-3, for the same reason
TURN = (*NARROW, *QUICK, "d_steps=1")  # theirs play two or five of D's turns to one of G's: for G time is over early
STYLE = ("G.width=16", "G.widest=64", "D.width=16", "D.widest=64", "G.z=64", "G.w=64")
THINNER = ("G.width=8", "G.widest=32", "D.width=8", "D.widest=64", "G.z=64", "G.w=64", "G.frame=4", "batch=16")

ENTRIES: dict[str, Entry] = {
    "mlp": Entry("mnist", ("G.hidden=[256, 512]", "D.hidden=[512, 256]", "D.dropout=0.3")),
    "gan2014": Entry("mnist"),
    "dcgan": Entry("mnist", DCGAN),
    "small": Entry("mnist"),
    "r1gan": Entry("mnist", THIN),
    "lsgan": Entry("mnist", DCGAN),
    "wgan": Entry("mnist", (*DCGAN, "players.D.lr=5e-4", "players.G.lr=5e-4")),
    "wgan-gp": Entry("mnist", (*THIN, *QUICK)),
    "sngan": Entry("mnist", DCGAN),
    "gman": Entry("mnist", (*DCGAN, "critics=3")),
    "d2gan": Entry("mnist", (*DCGAN, "players.D.lr=5e-4", "players.G.lr=5e-4")),
    "mad-gan": Entry("mnist", DCGAN),
    "cgan": Entry("mnist"),
    "acgan": Entry("mnist", DCGAN),
    "projection-gan": Entry("mnist", DCGAN),
    "reacgan": Entry("mnist", DCGAN),
    "small-labelled": Entry("mnist"),
    "infogan": Entry("mnist", (*DCGAN, "D.dense=256", "batch=64")),
    "semi": Entry("mnist"),
    "small-semi": Entry("mnist"),
    "aae": Entry("mnist"),
    "bigan": Entry("mnist", JOINT),
    "ali": Entry("mnist", JOINT),
    "autoencoder": Entry("mnist"),
    "vae": Entry("mnist"),
    "rbm": Entry("mnist"),
    "wgan-gp-resnet": Entry("mnist", (*NARROW, *QUICK, "d_steps=3")),
    "sngan-resnet": Entry("mnist", TURN),
    "sngan-projection": Entry("mnist", TURN),
    "sagan": Entry("mnist", (*NARROW, *QUICK)),
    "biggan": Entry("mnist", TURN),
    "biggan-deep": Entry("mnist", TURN),
    "progan": Entry(
        "eurosat16", ("G.width=16", "G.widest=64", "D.width=16", "D.widest=64", "G.z=64", "batch=16", *THRICE)
    ),
    "stylegan": Entry("eurosat16", (*STYLE, *THRICE)),
    "stylegan2": Entry("eurosat16", STYLE),
    "stylegan2-small": Entry("eurosat16"),
    "stylegan2-ada": Entry("eurosat16", STYLE),
    "stylegan3-t": Entry("eurosat16", THINNER),
    "stylegan3-r": Entry("eurosat16", THINNER),
    "fastgan": Entry("eurosat16", ("G.width=8", "G.widest=64", "D.width=8", "D.widest=64", "G.z=64", *QUICK)),
    "r3gan": Entry("eurosat16", (*NARROW, "G.group=8", "D.group=8")),
    "gat": Entry("eurosat16", ("G.width=48", "D.width=48", "G.depth=3", "D.depth=3", "batch=32")),
}
