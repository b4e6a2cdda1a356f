"""Packing."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.registry import trick
from gantlet.core.trick import Given, Trick
from gantlet.core.when import Now
from gantlet.tricks.concat_labels import WithLabels
from gantlet.tricks.told import inmost


@trick.named("packing")
class Packing(Trick):
    """Packing: D judges m samples at once, D(x_1, ..., x_m), so that too little variety shows (PacGAN, Lin et al. 2018).

    Rows i m .. i m + m - 1 of [N, C, ...] become one row of [N / m, m C, ...], after all other tricks have been at them.
    So do labels, [N / m, m], which only concat-labels can tell a critic.
    """

    late = True

    def __init__(
        self,
        *,
        m: Annotated[int, Field(ge=2, le=16)] = 2,  # the paper's gain is largest from 1 to 2
    ) -> None:
        super().__init__()
        self.m = self.together = m

    def critic_spec(self, spec: Spec) -> Spec:
        if any(not shape for shape in spec.given):
            raise InputError("trick 'packing': what samples are conditioned on must be vectors or images to be packed")
        return spec._replace(shape=self._wide(spec.shape), given=tuple(self._wide(shape) for shape in spec.given))

    def dress(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
        if role == "D" and spec.classes and not any(isinstance(m, WithLabels) for m in net.modules()):
            raise InputError(
                f"trick 'packing': a row is of {self.m} classes and {inmost(net)} is told one; use a critic that is "
                "told none itself (dcgan, cnn, mlp) with tricks.concat-labels={}, or leave the trick out"
            )
        return net

    def _wide(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.m * shape[0], *shape[1:])

    def shown(self, x: Tensor, given: Given, now: Now, side: str) -> tuple[Tensor, Given]:
        return self._packed(x), tuple(self._packed(g) for g in given)

    def _packed(self, x: Tensor) -> Tensor:
        n = len(x)
        if n % self.m:
            raise InputError(
                f"trick 'packing': {n} samples do not divide into packs of {self.m}; use a batch (on each of several "
                f"ranks, and a micro_batch) that {self.m} divides, or another m"
            )
        if x.dim() == 1:  # labels
            return x.reshape(n // self.m, self.m)
        return x.reshape(n // self.m, self.m * x.shape[1], *x.shape[2:])
