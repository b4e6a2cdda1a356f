"""What gantlet says when it cannot go on: the value, the rule, the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class GantletError(Exception):
    """Something failed while running; the command line leaves with status 1."""

    status = 1


class InputError(GantletError):
    """What was asked for cannot be done as written; the command line leaves with status 2.

    Several faults of one input are reported together, a line each.
    """

    status = 2

    def __init__(self, faults: str | Sequence[str]) -> None:
        self.faults: list[str] = [faults] if isinstance(faults, str) else list(faults)
        super().__init__("\n".join(self.faults))


class NonFiniteError(GantletError):
    """A loss term or a gradient became NaN or infinite; the message names the first step, player and term."""


class StateError(GantletError):
    """A saved state cannot be used: damaged, or made by something else."""


# names that others give to what has another one here
ALSO = {
    "adversarial": {
        "bce": "non-saturating", "gan": "non-saturating", "vanilla": "non-saturating", "ns": "non-saturating",
        "wgan": "wasserstein", "w": "wasserstein", "lsgan": "least-squares", "mse": "least-squares", "rpgan": "relativistic",
        "rgan": "relativistic", "ragan": "relativistic-average", "js": "jensen-shannon",
    },
    "penalty": {"gradient-penalty": "gp", "wgan-gp": "gp", "gradient_penalty": "gp", "lipschitz": "gp"},
    "dynamics": {"sga": "symplectic", "omd": "optimistic", "simgd": "simultaneous", "altgd": "alternating",
                 "extra-adam": "extragradient", "extraadam": "extragradient"},
    "option": {
        "loss": "adversarial", "batch_size": "batch", "batchsize": "batch", "generator": "G", "discriminator": "D",
        "critic": "D", "n_critic": "d_steps", "latent_dim": "G.z", "z_dim": "G.z", "nz": "G.z", "ema": "average",
        "learning_rate": "players.G.lr and players.D.lr", "optimizer": "players.G and players.D", "epochs": "steps",
        "penalty": "penalties", "trick": "tricks", "image_size": "size", "amp": "precision",
    },
}  # fmt: skip


def nearest(name: str, known: Iterable[str], kind: str = "") -> str:
    """`did you mean ...?` for a name that is not among `known`, or the list of what there is."""
    names = sorted(known)
    if (here := ALSO.get(kind, {}).get(name.lower())) is not None and (kind == "option" or here in names):
        return f"here that is {here}."
    if name.lower() in ("none", "off", "no", "false"):
        return f"to leave it out write null; known: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}."
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    if not names:
        return "there are none."
    shown = ", ".join(names[:12])
    return f"known: {shown}{', ...' if len(names) > 12 else ''}."
