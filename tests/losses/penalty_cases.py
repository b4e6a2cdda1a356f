"""Critics whose slopes are known, a generator, and each penalty's value on them, worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import gantlet.losses  # noqa: F401 (importing registers)
from gantlet.core import registry
from gantlet.core.critics import Critics, Evidence, Lens, Verdict
from gantlet.core.noise import normal, uniform
from gantlet.core.when import Now
from gantlet.losses.penalties import Penalty, evidence

F64 = torch.float64
REAL = torch.tensor([[1.0, 2.0, -1.0], [0.5, 0.0, 2.0], [-1.0, 1.0, 1.0], [2.0, -0.5, 0.0]], dtype=F64)
FAKE = torch.tensor([[0.0, 1.0, 1.0], [1.5, 1.0, -1.0], [0.0, -1.0, 0.5], [1.0, 0.5, 2.0]], dtype=F64)
W = torch.tensor([0.6, -1.5, 0.8], dtype=F64)
A = torch.tensor([[1.0, 0.5, 0.0], [0.5, -0.7, 0.2], [0.0, 0.2, 0.4]], dtype=F64)
B = torch.tensor([[1.0, 0.5, 0.0], [-0.5, 1.0, 0.3], [0.2, 0.0, -1.0]], dtype=F64)
Z = FAKE @ torch.linalg.inv(B)  # so that G(Z) = Z B = FAKE


class Linear(nn.Module):
    """D(x) = w . x"""

    def __init__(self, w: Tensor = W) -> None:
        super().__init__()
        self.w = nn.Parameter(w.clone())

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w


class Quadratic(nn.Module):
    """D(x) = x A x, whose slope is 2 A x."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(*A.shape, bias=False, dtype=A.dtype)
        with torch.no_grad():
            self.layer.weight.copy_(A)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.layer.weight
        return ((x @ ((weight + weight.T) / 2)) * x).sum(1)


class Smooth(nn.Module):
    """A small network without kinks; one logit a row, or a sequence of them."""

    def __init__(self, logits: int = 0) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, max(logits, 1))).double()
        self.logits = logits

    def forward(self, x: Tensor) -> Verdict | Tensor:
        out = self.body(x)
        return Verdict(out, (x,)) if self.logits else out.squeeze(1)


class Makes(nn.Module):
    """G(z) = z B"""

    def __init__(self) -> None:
        super().__init__()
        self.B = nn.Parameter(B.clone())

    def forward(self, z: Tensor, *given: Tensor) -> Tensor:
        return z @ self.B


class Bends(nn.Module):
    """A small generator without kinks."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()

    def forward(self, z: Tensor, *given: Tensor) -> Tensor:
        return self.body(z)


def made(name: str, **options: Any) -> Penalty:
    """A penalty that acts at step 0, with its averages in float64."""
    penalty = registry.penalty.parts[name].fn(**{**PROMPT.get(name, {}), **options})
    if penalty.state is not None:
        penalty.state.double()
    return penalty


def seen(
    *critics: nn.Module, now: Now = Now(), real: Tensor = REAL, fake: Tensor = FAKE, z: Tensor | None = Z,  # noqa: B008
    G: nn.Module | None = None, lenses: Sequence[Lens] = (), given: tuple[Tensor, ...] = (),
) -> Evidence:  # fmt: skip
    """What a penalty sees in the critics' turn."""
    many = Critics({str(i): c for i, c in enumerate(critics)}, lenses=lenses)
    return evidence(many, real, fake, given, now, z=z, G=G or Makes())


def value(penalty: Penalty, *critics: nn.Module, **more: Any) -> Tensor:
    """All that the penalty adds, in the critics' turn and in the generator's."""
    e = seen(*critics, **more)
    return torch.stack([term(e) for term in (penalty.term, penalty.g_term) if term is not None]).sum()


# ---- by hand ------------------------------------------------------------------------------------------------------


def between(now: Now = Now()) -> Tensor:  # noqa: B008
    eps = uniform((1,), 4, key=(now.seed, now.step, now.play, "gp"), first=now.first).double()
    return eps * REAL + (1 - eps) * FAKE


def around() -> Tensor:
    mean = REAL.sum() / 12
    deviation = ((REAL - mean).square().sum() / 12).sqrt()
    return REAL + 0.5 * deviation * drawn("dragan")


def drawn(*part: int | str) -> Tensor:
    return normal((3,), 4, key=(0, 0, 0, *part)).double()


def norms(x: Tensor) -> Tensor:
    return (2 * x @ A).norm(dim=1)


def linear(x: Tensor) -> Tensor:
    return x @ W


def quadratic(x: Tensor) -> Tensor:
    return torch.einsum("ni,ij,nj->n", x, A, x)


def squared(t: Tensor) -> float:
    return float(t.square().mean())


Logits = Callable[[Tensor], Tensor]


def rise(D: Logits, x: Tensor, side: str) -> float:
    return squared((D(x + 0.01 * drawn("fd", side, 0)) - D(x)) / 0.01)


def wobble(D: Logits, x: Tensor, side: str) -> float:
    return squared(D(x + 0.05 * drawn("consistency", side)) - D(x))


def apart(D: Logits) -> float:
    return squared(D(REAL) - D(FAKE).mean()) + squared(D(FAKE) - D(REAL).mean())


def latent(D: Logits) -> float:
    near = (Z + 0.05 * drawn("zcr")) @ B
    return squared(D(near) - D(FAKE)) - squared(near - FAKE)


def lengths() -> Tensor:
    """|J^T y| of the half of the rows that is looked at: J^T y = B y."""
    return (drawn("path-length")[:2] @ B.T).norm(dim=1)


def spread() -> float:
    return squared(lengths() - lengths().mean())


STEEP = float(W.norm())
OVERLAP = float((A @ A.T - torch.diag(torch.diag(A @ A.T))).square().sum())
CLOSED: dict[str, tuple[Callable[[], float], Callable[[], float]]] = {  # on w . x and on x A x, with strength 3
    "r1": (lambda: 1.5 * STEEP**2, lambda: 1.5 * squared(norms(REAL))),
    "r2": (lambda: 1.5 * STEEP**2, lambda: 1.5 * squared(norms(FAKE))),
    "fd-r1": (lambda: 1.5 * rise(linear, REAL, "real"), lambda: 1.5 * rise(quadratic, REAL, "real")),
    "fd-r2": (lambda: 1.5 * rise(linear, FAKE, "fake"), lambda: 1.5 * rise(quadratic, FAKE, "fake")),
    "gp": (lambda: 3.0 * (STEEP - 1) ** 2, lambda: 3.0 * squared(norms(between()) - 1)),
    "gp-one-sided": (lambda: 3.0 * (STEEP - 1) ** 2, lambda: 3.0 * squared((norms(between()) - 1).clamp(min=0))),
    "gp-zero": (lambda: 3.0 * STEEP**2, lambda: 3.0 * squared(norms(between()))),
    "dragan": (lambda: 3.0 * (STEEP - 1) ** 2, lambda: 3.0 * squared(norms(around()) - 1)),
    "lecam": (lambda: 3.0 * apart(linear), lambda: 3.0 * apart(quadratic)),
    "logit-l2": (lambda: 3.0 * squared(REAL @ W), lambda: 3.0 * squared(quadratic(REAL))),
    "cr": (lambda: 3.0 * wobble(linear, REAL, "real"), lambda: 3.0 * wobble(quadratic, REAL, "real")),
    "bcr": (
        lambda: 3.0 * (wobble(linear, REAL, "real") + wobble(linear, FAKE, "fake")),
        lambda: 3.0 * (wobble(quadratic, REAL, "real") + wobble(quadratic, FAKE, "fake")),
    ),
    "zcr": (lambda: 3.0 * latent(linear), lambda: 3.0 * latent(quadratic)),
    "orthogonal": (lambda: 0.0, lambda: 3.0 * OVERLAP),  # a vector has one filter
    "path-length": (lambda: 3.0 * spread(), lambda: 3.0 * spread()),
}
STRENGTH = {  # what says how much a penalty counts
    **dict.fromkeys(("r1", "r2", "fd-r1", "fd-r2"), ("gamma",)),
    **dict.fromkeys(("gp", "gp-one-sided", "gp-zero", "dragan", "lecam", "logit-l2", "cr"), ("weight",)),
    **dict.fromkeys(("orthogonal", "path-length"), ("weight",)),
    "bcr": ("real_weight", "fake_weight"),
    "zcr": ("d_weight", "g_weight"),
}
PROMPT: dict[str, dict[str, Any]] = {"lecam": {"after": 0}}  # those that wait, hurried
VISIBLE: dict[str, dict[str, Any]] = {  # averages stay at their first value; slopes and steps are large enough to count
    "lecam": {"decay": 1 - 1e-12},
    "path-length": {"decay": 1 - 1e-12},
    "cr": {"jitter": 0.5},
    "bcr": {"jitter": 0.5},
    "zcr": {"sigma": 0.5},
    "gp-one-sided": {"target": 0.01},
}
DRAW = {"gp", "gp-one-sided", "gp-zero", "dragan", "fd-r1", "fd-r2", "cr", "bcr", "zcr", "path-length"}
FEEL_FAKES = {"r2", "fd-r2", "gp", "gp-one-sided", "gp-zero", "lecam", "bcr", "zcr"}


def strong(name: str, strength: Any, **options: Any) -> Penalty:
    """A penalty with all its strengths set."""
    return made(name, **dict.fromkeys(STRENGTH[name], strength), **options)


def central(f: Callable[[], Tensor], weights: Sequence[Tensor], h: float = 1e-6) -> list[Tensor]:
    """The gradient of a number by central differences in each entry of each weight."""
    found = []
    for w in weights:
        flat, slope = w.detach().view(-1), torch.zeros(w.numel(), dtype=w.dtype)
        for i in range(flat.numel()):
            was = flat[i].clone()
            flat[i] = was + h
            up = f().detach()
            flat[i] = was - h
            slope[i] = (up - f().detach()) / (2 * h)
            flat[i] = was
        found.append(slope.view_as(w))
    return found
