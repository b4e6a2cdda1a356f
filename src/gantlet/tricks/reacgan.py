"""ReACGAN: classes as directions on a sphere, told apart from the other samples of a batch."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Evidence, Verdict
from gantlet.core.game import Spec
from gantlet.core.registry import trick
from gantlet.core.trick import Trick
from gantlet.core.when import Schedule, at
from gantlet.losses.penalties import exactly, raised
from gantlet.tricks.beside import Head, read_last
from gantlet.tricks.classifier import one_a_row
from gantlet.tricks.told import label_of, passed, refuse_packs, refuse_untold, verdict_of

Margin = Annotated[float, Field(ge=-1, le=1)]


def d2d_ce(f: Tensor, toward: Tensor, y: Tensor, *, temperature: float, positive: float, negative: float) -> Tensor:
    """-E log e^p / (e^p + sum_j e^n_j), p = min(f . v_y - m_p, 0) / t, n_j = max(f . f_j - m_n, 0) / t (Kang et al. 2021).

    `f` [N, d] on the unit sphere, `toward` [N] = f . v_y, labels y [N]; j are the rows of other classes. 0 where there
    are none: a batch of one class says nothing.
    """
    p = (toward - positive).clamp(max=0) / temperature
    with exactly(f):
        n = (f @ f.T - negative).clamp(min=0) / temperature
    n = n.masked_fill(y.unsqueeze(0) == y.unsqueeze(1), -torch.inf)
    return (torch.cat([p.unsqueeze(1), n], 1).logsumexp(1) - p).mean()


class OnSphere(nn.Module):
    """(x, y) -> the verdict on x; its last feature is f = P h / |P h| [N, d], its `classes` [N, K] are f . v_k.

    v_k are unit vectors, one a class, learned with the critic.
    """

    listens = True  # it is to be called with y

    def __init__(self, net: nn.Module, classes: int, embed: int, told: bool) -> None:
        super().__init__()
        net, read = read_last(net, "reacgan")
        self.read = [read]  # a plain list: it is a child of the network
        self.project = Head(read.width, embed)
        read.like(self.project)
        self.proxies = nn.Parameter(torch.randn(classes, embed))
        self.net, self.told = net, told
        self.place = 0  # of f among the features

    def forward(self, x: Tensor, *given: Tensor) -> Verdict:
        said = verdict_of(self.net(x, *(given if self.told else given[1:])))
        f = F.normalize(raised(self.project(one_a_row(self.read[0].take()))), dim=1)
        self.place = len(said.features)
        with exactly(f):
            cosines = f @ F.normalize(raised(self.proxies), dim=1).T
        return said._replace(features=[*said.features, f], classes=cosines)


@trick.named("reacgan")
class ReACGAN(Trick):
    """ReACGAN: D (on reals) and G (on fakes) minimise -E log e^p / (e^p + sum_j e^n_j), p = [f . v_y - m_p]_- / t,
    n_j = [f . f_j - m_n]_+ / t over samples j of other classes (Kang et al. 2021, eq. 8).

    Features f and class proxies v are on the unit sphere; this is the paper's data-to-data cross-entropy.
    """

    couples_batch = True

    def __init__(
        self,
        *,
        weight: Annotated[Schedule, Field(ge=0)] = 0.5,  # lambda, temperature and margins as for CIFAR-10
        temperature: Annotated[float, Field(gt=0)] = 0.5,
        positive: Margin = 0.98,  # m_p: nearer to its proxy than this a sample is near enough
        negative: Margin = 0.02,  # m_n: farther from other classes than this it is far enough
        embed: Annotated[int, Field(ge=1)] = 512,  # dimensions of the sphere's space
    ) -> None:
        super().__init__()
        self.weight, self.embed = weight, embed
        self.how = {"temperature": temperature, "positive": positive, "negative": negative}
        self.spec: Spec | None = None
        self.heads: list[OnSphere] = []  # a plain list: they are the critics

    def critic_spec(self, spec: Spec) -> Spec:
        refuse_untold(spec, "reacgan")
        self.spec = spec
        return spec._replace(classes=0, shares=())

    def dress(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
        if role != "D":
            return net
        assert self.spec is not None
        refuse_packs(self.spec, spec, "reacgan")
        self.heads.append(OnSphere(net, self.spec.classes, self.embed, passed(net, spec)))
        return self.heads[-1]

    def d_terms(self, seen: Evidence) -> dict[str, Tensor]:
        """Summed over critics."""
        return {"": at(self.weight, seen.now) * torch.stack(self._costs(seen.on_real, seen)).sum()}

    def g_terms(self, seen: Evidence) -> dict[str, Tensor]:
        """The mean over critics."""
        return {"": at(self.weight, seen.now) * torch.stack(self._costs(seen.on_fake, seen)).mean()}

    def _costs(self, said: list[Verdict], seen: Evidence) -> list[Tensor]:
        y, costs = label_of(seen.given, "reacgan"), []
        for head, verdict in zip(self.heads, said, strict=True):
            assert verdict.classes is not None
            toward = verdict.classes.gather(1, y.unsqueeze(1)).squeeze(1)
            costs.append(d2d_ce(raised(verdict.features[head.place]), toward, y, **self.how))
        return costs
