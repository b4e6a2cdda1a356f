"""Consistency: critics are to say the same of a sample and of its copy that means the same."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from gantlet.core.critics import Evidence, Verdict
from gantlet.core.errors import InputError
from gantlet.core.noise import uniform
from gantlet.core.registry import penalty
from gantlet.core.when import at
from gantlet.losses.penalties import Every, Penalty, Strength, normals, raised

Shift = Annotated[float, Field(ge=0, le=0.5)]  # of images, at most this share of either side, but a pixel
Size = Annotated[float, Field(gt=0)]


@penalty
def cr(
    *,
    weight: Strength = 10.0,
    flip: bool = True,  # of images, left to right: not where that changes what they show, as of digits
    shift: Shift = 0.125,
    jitter: Size = 0.05,  # of anything else: standard deviation of noise
    features: bool = False,  # also of each critic's last features
    every: Every = 1,
) -> Penalty:
    """Consistency on reals: weight E |D(x) - D(T(x))|^2, T a random flip and shift of images, a jitter of other data
    (Zhang et al. 2020).
    """
    _refuse_nothing("cr", flip, shift)

    def term(e: Evidence) -> Tensor:
        moved = _moved(e, e.real, "real", flip, shift, jitter)
        return at(weight, e.now) * _gap(e.on_real, moved, features)

    return Penalty(term, every)


@penalty
def bcr(
    *,
    real_weight: Strength = 10.0,
    fake_weight: Strength = 10.0,
    flip: bool = True,  # of images, left to right: not where that changes what they show, as of digits
    shift: Shift = 0.125,
    jitter: Size = 0.05,  # of anything else: standard deviation of noise
    features: bool = False,  # also of each critic's last features
    every: Every = 1,
) -> Penalty:
    """Balanced consistency: a E |D(x) - D(T(x))|^2 + b E |D(G(z)) - D(T(G(z)))|^2, T a random flip and shift of images,
    a jitter of other data (Zhao et al. 2021, algorithm 1).
    """
    _refuse_nothing("bcr", flip, shift)

    def term(e: Evidence) -> Tensor:
        on_real = _gap(e.on_real, _moved(e, e.real, "real", flip, shift, jitter), features)
        on_fake = _gap(e.on_fake, _moved(e, e.fake, "fake", flip, shift, jitter), features)
        return at(real_weight, e.now) * on_real + at(fake_weight, e.now) * on_fake

    return Penalty(term, every)


def _refuse_nothing(name: str, flip: bool, shift: float) -> None:
    if not flip and not shift:
        raise InputError(
            f"penalty {name!r}: with flip=false and shift=0 the copy of an image is that image, which says nothing; "
            "use shift=0.125 or flip=true, or leave it out"
        )


def _moved(e: Evidence, x: Tensor, side: str, flip: bool, shift: float, jitter: float) -> list[Verdict]:
    """The critics' verdicts on T(x); image-like `given` take the same T, and lenses draw what they drew for x."""
    if x.dim() != 4:
        return e.ask(x + jitter * normals(e, x, "consistency", side), side)
    key = (e.now.seed, e.now.step, e.now.play, "consistency", side)
    u = uniform((3,), len(x), key=key, first=e.now.first, device=x.device)
    given = tuple(transformed(g, u, flip=flip, shift=shift) if g.dim() == 4 else g for g in e.given)
    said: list[Verdict] = e.critics(transformed(x, u, flip=flip, shift=shift), *given, now=e.now, side=side)
    return said


def transformed(x: Tensor, u: Tensor, *, flip: bool, shift: float) -> Tensor:
    """Images [N, C, H, W] flipped where u[:, 0] < 1/2, then moved by whole pixels u[:, 1] down and u[:, 2] right, each
    from -shift to shift of its side (a shift above 0 is of a pixel at least, if there are two); what moves in is the
    mirror image of what is there. u in 0..1, [N, 3].
    """
    if flip:
        x = torch.where((u[:, 0] < 0.5).view(-1, 1, 1, 1), x.flip(-1), x)
    rows, columns = (_sources(x.shape[axis], u[:, axis - 1], shift) for axis in (2, 3))
    x = x.gather(2, rows.view(len(x), 1, -1, 1).expand_as(x))
    return x.gather(3, columns.view(len(x), 1, 1, -1).expand_as(x))


def _sources(side: int, u: Tensor, shift: float) -> Tensor:
    """Where each pixel of a moved side comes from, [N, side]."""
    most = min(max(1, int(shift * side)), side - 1) if shift else 0
    by = (u * (2 * most + 1)).floor().long() - most
    source = torch.arange(side, device=u.device) - by.unsqueeze(1)
    source = source.abs()
    return side - 1 - (side - 1 - source).abs()


def _gap(a: list[Verdict], b: list[Verdict], features: bool) -> Tensor:
    """Sum over critics of the mean squared difference of logits, and of last features."""
    pairs = [(v.logits, w.logits) for v, w in zip(a, b, strict=True)]
    if features:
        if not all(v.features for v in a):
            raise InputError(
                "features=True: a critic answers logits without features; use features=False, "
                "or a critic that returns Verdict(logits, features)"
            )
        pairs += [(v.features[-1], w.features[-1]) for v, w in zip(a, b)]
    return torch.stack([(raised(v) - raised(w)).square().mean() for v, w in pairs]).sum()
