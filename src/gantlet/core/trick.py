"""What a trick may do: hooks around a game's losses, each doing nothing unless a trick says otherwise."""

from __future__ import annotations

from torch import Tensor, nn

from gantlet.core.critics import Adversarial, Critics, Evidence
from gantlet.core.game import Spec
from gantlet.core.registry import trick
from gantlet.core.when import Now

Given = tuple[Tensor, ...]


def unordered(pair: Adversarial) -> str | None:
    """Why a trick that takes a higher logit for a better sample cannot play with this loss; None: it can."""
    if pair.ordered:
        return None
    return (
        "under this loss a higher logit does not mean a better sample (mmd and sliced-wasserstein compare distributions, "
        "d2gan's second critic rewards fakes); use another adversarial loss or game, or leave the trick out"
    )


class Trick(nn.Module):
    """A remedy that composes with every game; several are applied in the order they are listed.

    What it carries from step to step is in its buffers, which are read and written on the device. Randomness is keyed by
    (now.seed, now.step, now.play, its name, side) and the row of the joint batch (`core/noise.py`), never drawn from a
    generator. Subclasses are final.
    """

    couples_batch = False  # does a row's loss depend on the other rows, so that micro-batches would change it?
    stages_with_critics = False  # do the fakes depend on the critics' weights?
    replaces_fakes = False  # does `judged` put other fakes in the place of those that were made?
    late = False  # comes after the others, wherever it is listed: it packs rows, or counts all weights

    # ---- when the game is built -----------------------------------------------------------------------------------

    def refuse(self, pair: Adversarial) -> str | None:
        """Why it cannot play with this loss, and the way out; None: it can."""
        return None

    def critic_spec(self, spec: Spec) -> Spec:
        """What a critic sees of this data."""
        return spec

    def dress(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
        """A network changed or wrapped; role is "G" or "D", spec that of its data."""
        return net

    # ---- while a scene is staged ----------------------------------------------------------------------------------

    def latent(self, z: Tensor, given: Given, G: nn.Module, critics: Critics, now: Now) -> Tensor:
        """Latents [N, z] that the fakes are made of."""
        return z

    # ---- in a turn ------------------------------------------------------------------------------------------------

    def begin(self, now: Now) -> None:
        """At the beginning of the critics' turn, before anything is judged: a controller settles."""

    def shown(self, x: Tensor, given: Given, now: Now, side: str) -> tuple[Tensor, Given]:
        """What the critics see of samples [N, ...]; side is "real", "fake" or another word for another draw."""
        return x, given

    def judged(self, real: Tensor, fake: Tensor, now: Now) -> tuple[Tensor, Tensor]:
        """Which samples are put before the critics in their own turn."""
        return real, fake

    def labels(self, real: Tensor, fake: Tensor, now: Now) -> tuple[Tensor, Tensor]:
        """Label of each row of either side in the critics' turn, [N] in 0..1, 1 is real."""
        return real, fake

    def chosen(self, fake: Tensor, now: Now) -> Tensor | None:
        """Rows (int64) of the fakes' logits [N, ...] that count in the generator's turn; None: all."""
        return None

    def d_terms(self, seen: Evidence) -> dict[str, Tensor]:
        """More terms of the critics' loss."""
        return {}

    def g_terms(self, seen: Evidence) -> dict[str, Tensor]:
        """More terms of the generator's loss."""
        return {}

    def observe(self, real: Tensor, fake: Tensor, now: Now) -> None:
        """Look at a first critic's logits in its own turn, without a graph: how ADA learns of overfitting."""


trick.makes = Trick
