"""Projection: a critic that compares what it sees to what it was promised."""

from __future__ import annotations

from torch import Tensor, nn

from gantlet.core.critics import Verdict
from gantlet.core.game import Spec
from gantlet.core.registry import trick
from gantlet.core.trick import Trick
from gantlet.losses.penalties import raised
from gantlet.tricks.beside import read_last
from gantlet.tricks.told import label_of, passed, refuse_packs, refuse_untold, verdict_of


class Projected(nn.Module):
    """D(x, y) = w . h(x) + b + <v_y, h(x)>; v is drawn as large as w, and spectrally normalised where w is."""

    listens = True  # it is to be called with y

    def __init__(self, net: nn.Module, classes: int, told: bool) -> None:
        super().__init__()
        net, read = read_last(net, "projection")
        self.read = [read]  # a plain list: it is a child of the network
        self.embed = nn.Embedding(classes, read.width)
        read.like(self.embed)
        self.net, self.told = net, told

    def forward(self, x: Tensor, *given: Tensor) -> Verdict:
        y = label_of(given, "projection")
        said = verdict_of(self.net(x, *(given if self.told else given[1:])))
        h = raised(self.read[0].take())
        v = self.embed(y).to(h.dtype)
        agree = (v.view(len(v), *[1] * (h.dim() - 2), -1) * h).sum(-1)
        return said._replace(logits=said.logits + agree.view_as(said.logits))


@trick.named("projection")
class Projection(Trick):
    """Projection: D adds <v_y, h(x)>, h what its last layer reads and v_y learned for each class (Miyato and Koyama 2018).

    For critics that end in a linear layer; those of families that are told the class themselves need none of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spec: Spec | None = None

    def critic_spec(self, spec: Spec) -> Spec:
        refuse_untold(spec, "projection")
        self.spec = spec
        return spec

    def dress(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
        if role != "D":
            return net
        assert self.spec is not None
        refuse_packs(self.spec, spec, "projection")
        return Projected(net, self.spec.classes, passed(net, spec))
