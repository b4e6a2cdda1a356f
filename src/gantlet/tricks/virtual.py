"""Virtual batch normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gantlet.core.critics import Verdict
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.noise import normal
from gantlet.core.registry import trick
from gantlet.core.trick import Given, Trick
from gantlet.core.when import Now
from gantlet.tricks.kept import Kept
from gantlet.tricks.told import hears, inmost


class VirtualNorm(nn.Module):
    """Row x of [R + N, C, ...] by the mean and variance of R reference rows and x itself, each counted 1 / (R + 1)."""

    def __init__(self, norm: _BatchNorm, rows: int) -> None:
        super().__init__()
        self.rows, self.eps = rows, norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, h: Tensor) -> Tensor:
        wide = h.to(torch.promote_types(h.dtype, torch.float32)).flatten(2) if h.dim() > 2 else h.unsqueeze(2)
        center = wide[: self.rows].mean((0, 2))
        off = wide - center.view(1, -1, 1)
        spread = off[: self.rows].square().mean((0, 2))
        share = 1 / (self.rows + 1)
        own = off[self.rows :]
        shift = share * own.mean(2, keepdim=True)
        variance = share * own.square().mean(2, keepdim=True) + (1 - share) * spread.view(1, -1, 1) - shift.square()
        scaled = torch.cat(
            [
                off[: self.rows] * torch.rsqrt(spread + self.eps).view(1, -1, 1),
                (own - shift) * torch.rsqrt(variance + self.eps),
            ]
        )
        if self.weight is not None:
            scaled = scaled * self.weight.view(1, -1, 1) + self.bias.view(1, -1, 1)
        return scaled.view_as(h).to(h.dtype)


@dataclass
class Asked:
    """Which side the critics are being shown."""

    side: str = ""


class WithReference(nn.Module):
    """A network that runs a fixed reference batch in front of every batch and answers for the rest.

    `labelled`: it may be told labels, right after the sample or the latent.
    """

    def __init__(
        self, net: nn.Module, shapes: list[tuple[int, ...]], rows: int, takes: str, asked: Asked, labelled: bool
    ) -> None:
        super().__init__()
        self.net, self.rows, self.takes, self.asked = net, rows, takes, asked
        self.kept = nn.ModuleList([Kept(rows, shape) for shape in shapes])
        self.labels = Kept(rows, ()) if labelled else None
        self.fixed_latents = int(getattr(net, "fixed_latents", 0))
        if hasattr(net, "z_dim"):
            self.z_dim = net.z_dim

    def forward(self, *inputs: Tensor) -> Any:
        kept = [k for k in self.kept if isinstance(k, Kept)]
        if self.labels is not None and len(inputs) > 1 and not inputs[1].is_floating_point():
            kept.insert(1, self.labels)
        if len(inputs) != len(kept) or any(x.dim() != k.bits.dim() for k, x in zip(kept, inputs)):
            raise InputError(
                f"trick 'virtual-batch-norm': {inmost(self.net)} was given inputs of shapes "
                f"{[list(x.shape) for x in inputs]}, the data's spec says {[['N', *k.bits.shape[1:]] for k in kept]}; "
                "leave the trick out of this game"
            )
        said = self.net(*(torch.cat([self._reference(k, x), x]) for k, x in zip(kept, inputs, strict=True)))
        if not isinstance(said, Verdict):
            return said[self.rows :]
        classes = None if said.classes is None else said.classes[self.rows :]
        return Verdict(said.logits[self.rows :], [f[self.rows :] for f in said.features], classes)

    def _reference(self, kept: nn.Module, x: Tensor) -> Tensor:
        """What was kept; until then this batch, over again if it is short. It is kept when its side is the right one."""
        assert isinstance(kept, Kept)
        places = torch.arange(self.rows, device=x.device)
        first = x.detach()[places % len(x)]
        held = kept.filled.view(-1, *[1] * (x.dim() - 1))
        reference = torch.where(held, kept.rows(places, first.dtype), first)
        if self.training and self.asked.side == self.takes:
            kept.keep(places, reference)
        return reference


@trick.named("virtual-batch-norm")
class VirtualBatchNorm(Trick):
    """Virtual batch norm: a row is normalised by a fixed reference batch and itself (Salimans et al. 2016, section 3.5).

    Every batch norm of G (or D) becomes one: rows no longer depend on each other. G's reference is a fixed draw of
    latents, its classes in turn; D's, and whatever else a sample is conditioned on, is the first batch it sees, which
    must be a whole one: those refuse micro-batches.
    """

    late = True  # what tells a network the class must tell it that of the reference rows too

    def __init__(
        self,
        *,
        role: Literal["G", "D", "both"] = "G",  # the paper uses it in G alone: it doubles the work
        size: Annotated[int, Field(ge=2)] = 64,  # rows of the reference batch
    ) -> None:
        super().__init__()
        self.roles = ("G", "D") if role == "both" else (role,)
        self.size = size
        self.asked = Asked()

    def dress(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
        if role not in self.roles:
            return net
        self.couples_batch = self.couples_batch or role == "D" or bool(spec.given)
        norms = [(name, m) for name, m in net.named_modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
        if not norms:
            small = role == "D" and sum(isinstance(m, nn.Conv2d) for m in net.modules()) == 1
            raise InputError(
                f"trick 'virtual-batch-norm': {role} ({inmost(net)}) has no batch norm to replace"
                + (f": of samples of {list(spec.shape)} it is an input layer alone, which has none" if small else "")
                + f"; use dcgan with {role}.batch_norm=true{' and D.smallest=2' if small else ''}, or another role"
            )
        for name, norm in norms:
            parent, _, child = name.rpartition(".")
            setattr(net.get_submodule(parent), child, VirtualNorm(norm, self.size))
        told = hears(net)
        if spec.classes and not told:
            raise InputError(
                f"{role}: {inmost(net)} is not told the class; add tricks.concat-labels={{}}, or use conditional=false"
            )
        if role == "D":
            return WithReference(net, [spec.shape, *spec.given], self.size, "real", self.asked, told)
        width, rows = int(net.z_dim), torch.arange(self.size)  # type: ignore[arg-type]
        made = WithReference(net, [(width,), *spec.given], self.size, "", Asked(), spec.classes > 0)
        latents = made.kept[0]
        assert isinstance(latents, Kept)
        latents.keep(rows, normal((width,), self.size, key=("virtual-batch-norm",)))
        if made.labels is not None:
            made.labels.keep(rows, rows % spec.classes)
        return made

    def shown(self, x: Tensor, given: Given, now: Now, side: str) -> tuple[Tensor, Given]:
        self.asked.side = side
        return x, given
