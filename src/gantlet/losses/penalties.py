"""What a penalty is, and R1 and R2. Penalties are functions of the evidence; critics are summed over, rows averaged."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Critics, Evidence, Term, Verdict
from gantlet.core.noise import normal
from gantlet.core.registry import penalty
from gantlet.core.when import Now, Schedule, at

Every = Annotated[int, Field(ge=1)]
Strength = Annotated[Schedule, Field(ge=0)]  # under zero it would reward what it is there to stop


class Penalty(NamedTuple):
    """Terms of the critics' and of the generator's loss, and how often they are due.

    A lazy one counts `every` times as much (Karras et al. 2020, section 3.1).
    """

    term: Term | None  # in the critics' turn
    every: int = 1
    g_term: Term | None = None  # in the generator's
    couples_batch: bool = False  # does a row's share depend on the other rows?
    state: nn.Module | None = None  # what it carries from step to step, in buffers
    of_one_row: bool = False  # capability: has the critic to judge each row alone, without a batch norm?

    def due(self, now: Now) -> bool:
        return now.step % self.every == 0


penalty.makes = Penalty
penalty.also |= {"gradient-penalty": "gp", "wgan-gp": "gp", "gradient_penalty": "gp", "lipschitz": "gp"}


def slopes(verdict: Verdict, x: Tensor) -> Tensor:
    """d D(x) / d x, [rows of logits, d]; of a patch map or sequence, its mean per row is differentiated.

    `x` must be what the critic was asked about, requiring grad; the result carries a graph. Where m samples are packed
    into one row of the critic's input, a row of the result is the slope in all of them.
    """
    rows = per_row(verdict)
    (slope,) = torch.autograd.grad(rows.sum(), x, create_graph=True)
    return raised(slope.reshape(len(rows), -1))


def per_row(verdict: Verdict) -> Tensor:
    """One logit a row, [rows of logits]: of a patch map or sequence the mean."""
    return verdict.logits.flatten(1).mean(1) if verdict.logits.dim() > 1 else verdict.logits


def raised(x: Tensor) -> Tensor:
    """In at least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def lengths(x: Tensor) -> Tensor:
    """|x| of rows [N, d], [N]; 0, with derivatives of 0, where its square is none a float holds: there it has no second."""
    with torch.no_grad():
        flat = x.norm(dim=1).square() < torch.finfo(x.dtype).tiny
    sized = torch.where(flat.unsqueeze(1), 1.0, x).norm(dim=1)
    return torch.where(flat, 0.0, sized)


def squared(verdicts: list[Verdict], x: Tensor) -> Tensor:
    """Sum over critics of E |d D(x) / d x|^2."""
    return torch.stack([slopes(v, x).square().sum(1).mean() for v in verdicts]).sum()


@penalty
def r1(*, gamma: Strength = 10.0, every: Every = 1) -> Penalty:
    """R1: gamma/2 E |grad D(x)|^2 on reals (Mescheder, Geiger and Nowozin 2018, eq. 9)."""
    return Penalty(lambda e: 0.5 * at(gamma, e.now) * squared(e.on_real, e.real), every)


@penalty
def r2(*, gamma: Strength = 10.0, every: Every = 1) -> Penalty:
    """R2: gamma/2 E |grad D(G(z))|^2 on fakes (Mescheder, Geiger and Nowozin 2018, eq. 10)."""
    return Penalty(lambda e: 0.5 * at(gamma, e.now) * squared(e.on_fake, e.fake), every)


def low_precision(x: Tensor) -> bool:
    """Is autocast on where this tensor is?"""
    kind = x.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def slopes_fail(x: Tensor, rows: int) -> bool:
    """Would a slope of a network that sees so many rows at once, differentiated again, be wrong in the precision that is on?

    fp16 overflows. And where a processor computes bfloat16 itself, convolutions of such a slope are wrong for fewer than 16
    rows (even numbers of them, torch 2.13 with AMX: nothing in common with float32's). Dynamics of second order are not
    looked after.
    """
    if not low_precision(x):
        return False
    kind = x.device.type
    return torch.get_autocast_dtype(kind) == torch.float16 or (kind == "cpu" and rows < 16)


def for_slopes(x: Tensor, rows: int) -> AbstractContextManager[Any]:
    """No autocast where a slope that is differentiated again would be wrong with it."""
    return exactly(x) if slopes_fail(x, rows) else nullcontext()


def exactly(x: Tensor) -> AbstractContextManager[Any]:
    """No autocast where this tensor is: for differences that low precision would drown."""
    return torch.autocast(x.device.type, enabled=False) if low_precision(x) else nullcontext()


def normals(e: Evidence, like: Tensor, *part: int | str) -> Tensor:
    """Standard normal draws shaped like `like` [N, ...], keyed by the part's name and the row's place in the joint batch."""
    n, *rest = like.shape
    key = (e.now.seed, e.now.step, e.now.play, *part)
    return normal(tuple(rest), n, key=key, first=e.now.first, device=like.device).to(like.dtype)


def evidence(
    critics: Critics, real: Tensor, fake: Tensor, given: tuple[Tensor, ...], now: Now, **more: Any
) -> Evidence:
    """Ask the critics about both, ready to be differentiated in their inputs; `more` are other fields of Evidence.

    A tensor that already carries a graph (a fake under dynamics that feel the other player) is used as it is.
    """
    real, fake = differentiable(real), differentiable(fake)
    on_real, on_fake = critics(real, *given, now=now, side="real"), critics(fake, *given, now=now, side="fake")
    return Evidence(critics, real, fake, given, on_real, on_fake, now, **more)


def differentiable(x: Tensor) -> Tensor:
    """The same values, asking for a gradient; what carries a graph already is used as it is."""
    own = x.view_as(x)  # a slope is a partial derivative: weights ahead may depend on the fake as well
    return own if own.requires_grad else own.requires_grad_()
