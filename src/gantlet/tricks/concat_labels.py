"""Labels beside the inputs: the first conditional GAN."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.registry import trick
from gantlet.core.trick import Trick
from gantlet.tricks.beside import beside_first
from gantlet.tricks.told import inmost, label_of, packs, passed, refuse_untold

Width = Annotated[int, Field(ge=1)]


class Code(nn.Module):
    """e(y) [N, width] of the labels that a network is just told: one-hot, or a row of a learned table.

    Labels [N, m] of packed samples have their m codes side by side.
    """

    def __init__(self, classes: int, embed: int | None) -> None:
        super().__init__()
        self.classes, self.width = classes, embed or classes
        self.table = None if embed is None else nn.Embedding(classes, embed)
        self.told: list[Tensor] = []

    def forward(self, h: Tensor) -> Tensor:
        (y,) = self.told
        if len(y) != len(h):
            raise InputError(
                f"trick 'concat-labels': {len(y)} labels for {len(h)} rows: this network reads others than it was given (to "
                "mix styles, say); it is told the class itself: leave the trick out, or choose another role"
            )
        if self.table is not None:
            code: Tensor = self.table(y)
        else:
            code = (y.unsqueeze(-1) == torch.arange(self.classes, device=y.device)).to(h.dtype)
        return code.flatten(1)


class WithLabels(nn.Module):
    """(x, y, ...) -> what a network says of x whose first layer reads e(y) too; y is passed on where it is taken."""

    listens = True  # it is to be called with y

    def __init__(self, net: nn.Module, code: Code, told: bool, packs: int = 1) -> None:
        super().__init__()
        self.net, self.told, self.packs = net, told, packs  # y is [N], or [N, packs] where several samples are a row
        self.code = [code]  # a plain list: it is the child of the network's first layer
        if hasattr(net, "z_dim"):
            self.z_dim = net.z_dim
        self.fixed_latents = int(getattr(net, "fixed_latents", 0))

    def forward(self, x: Tensor, *given: Tensor) -> Any:
        code = self.code[0]
        code.told[:] = [label_of(given, inmost(self.net))]
        try:
            return self.net(x, *(given if self.told else given[1:]))
        finally:
            code.told.clear()


@trick.named("concat-labels")
class ConcatLabels(Trick):
    """Labels concatenated: G reads [z, e(y)] and D [x, e(y)], e(y) one-hot or learned (Mirza and Osindero 2014).

    Where the first layer of a network is a convolution, e(y) is constant planes beside the channels. Weights for e(y)
    begin as large as the layer's others.
    """

    def __init__(
        self,
        *,
        role: Literal["both", "G", "D"] = "both",  # G alone where the critic hears y otherwise: projection, ac-gan
        embed: Width | None = None,  # width of a learned e(y); null: one-hot, as in the paper
    ) -> None:
        super().__init__()
        self.roles = ("G", "D") if role == "both" else (role,)
        self.embed = embed
        self.spec: Spec | None = None  # as a critic sees one sample

    def critic_spec(self, spec: Spec) -> Spec:
        if "D" in self.roles:
            refuse_untold(spec, "concat-labels")
        self.spec = spec
        return spec

    def dress(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
        if role not in self.roles:
            return net
        of = spec if role == "G" else self.spec
        assert of is not None
        refuse_untold(of, "concat-labels")
        m, told = packs(of, spec), passed(net, spec)
        if m > 1 and told:
            raise InputError(
                f"trick 'packing': a row is of {m} classes and {inmost(net)} is told one; use a network that is "
                "told none itself (dcgan, cnn, mlp), or leave the trick out"
            )
        if role == "D" and any(callable(getattr(module, "grow", None)) for module in net.modules()):
            raise InputError(
                f"trick 'concat-labels': {inmost(net)} can grow, and which of its layers is the first then changes; use "
                "role=G, and tell it the class by tricks.projection={} or tricks.ac-gan={}"
            )
        code = Code(of.classes, self.embed)
        return WithLabels(beside_first(net, code, m * code.width, "concat-labels"), code, told, m)
