"""A critic that reconstructs: what it reproduces badly it takes for a fake."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Verdict
from gantlet.core.game import Spec
from gantlet.core.registry import critic
from gantlet.nets.layers import spectrally_normalised

Width = Annotated[int, Field(ge=1)]
Hidden = Annotated[tuple[Width, ...], Field(max_length=64)]


@critic.named("autoencoder")
class AutoencoderCritic(nn.Module):
    """Sample -> hidden layers -> code -> hidden layers -> sample'; logit [N] = -mean |x - x'|, minus an energy (Zhao,
    Mathieu and LeCun 2017, section 2.3; the absolute error of Berthelot et al. 2017, eq. 1).

    For `ebgan` and `began`. Points and images alike are flattened; the code is the verdict's feature.
    """

    energy = True  # minus the logit is one, at least 0: what losses of energies ask for

    def __init__(
        self, spec: Spec, *, hidden: Hidden = (256,), code: Width = 32, slope: float = 0.2, spectral: bool = False,
        error: Literal["absolute", "squared"] = "absolute",
    ) -> None:  # fmt: skip
        super().__init__()
        size = math.prod(spec.shape)
        self.encode = _perceptron([size, *hidden, code], slope)
        self.decode = _perceptron([code, *reversed(hidden), size], slope)
        self.squared = error == "squared"
        if spectral:
            spectrally_normalised(self)

    def forward(self, x: Tensor) -> Verdict:
        x = x.flatten(1)
        code = self.encode(x)
        gap = x - self.decode(code)
        energy = (gap.square() if self.squared else gap.abs()).mean(1)
        return Verdict(-energy, (code,))


def _perceptron(widths: list[int], slope: float) -> nn.Sequential:
    """Linear layers with leaky rectifiers between them, none after the last."""
    layers = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), nn.LeakyReLU(slope))]
    return nn.Sequential(*layers[:-1])
