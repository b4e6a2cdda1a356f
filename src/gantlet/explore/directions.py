"""Directions in which samples change most: from the first weights alone (SeFa), or from many samples (GANSpace)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.explore.space import CHUNK, Made, Space, latents, pictures_only
from gantlet.explore.style import style_of
from gantlet.games.mixture import Mixture


class Directions(NamedTuple):
    """k unit vectors in a space, the strongest first; all there are where more were asked for."""

    method: str
    space: str
    vectors: Tensor  # float64 [k, d], each with its largest coordinate above 0
    values: Tensor  # float64 [k] eigenvalues: what moving along each does to the first layer, squared; or variances
    share: Tensor  # float64 [k] of the sum of all of them
    scale: Tensor  # float64 [k] deviation of codes along each: a step of one is usual
    linear: float  # R^2 of the first layer's answers as affine functions of the code: 1 where SeFa is exact

    def first(self, k: int) -> Directions:
        """The k strongest."""
        return self._replace(**{name: getattr(self, name)[:k] for name in ("vectors", "values", "share", "scale")})


def sefa(model: Made, *, k: int = 5, space: str | None = None, seed: int = 0, y: int | None = None) -> Directions:
    """Eigenvectors of A^T A, A the weights that first read the code: unit vectors n that maximise |A n|^2
    (Shen and Zhou 2021, section 3.2).

    In w: the affine layers of the synthesis, stacked; in z: the first linear layer or convolution. A is found as the least
    squares slope of these layers' answers in the code, which is exact where they are affine in it, whatever their
    parametrisation and wherever a class is concatenated.
    """
    place = _place(model, space, y)
    z = latents(model.game, 2 * model.game.z_dim + 64, seed=seed, hold=True)
    codes, said = _answers(place, z)
    wanted = 2 * codes.shape[1] + 64
    if len(codes) < wanted:  # w is wider than z
        codes, said = _answers(place, latents(model.game, wanted, seed=seed, hold=True))
    x = codes - codes.mean(0)
    slopes, rest, total = [], 0.0, 0.0
    for answer in said:
        centred = answer - answer.mean(0)
        slope = torch.linalg.lstsq(x, centred, driver="gelsd").solution  # [d, m]
        slopes.append(slope)
        rest += float((centred - x @ slope).square().sum())
        total += float(centred.square().sum())
    a = torch.cat(slopes, 1)
    values, vectors = torch.linalg.eigh(a @ a.T)
    return _made("sefa", place, vectors.T.flip(0), values.flip(0), k, codes, 1 - rest / max(total, 1e-300))


def ganspace(
    model: Made, *, k: int = 5, n: int | None = None, space: str | None = None, seed: int = 0, y: int | None = None
) -> Directions:  # fmt: skip
    """Principal components of w, or of the first layer's answers regressed back to z (Härkönen et al. 2020, sections 2.1-2).

    n samples: 10,000 styles (the paper's 10^6 change nothing that is seen), or 2,000 answers of a first layer.
    """
    place = _place(model, space, y)
    count = n or (10_000 if place.name == "w" else 2_000)
    if count < 2:
        raise InputError(f"n={count}: principal components are of at least 2 samples")
    z = latents(model.game, count, seed=seed, hold=True)
    if place.name == "w":
        codes = _codes(place, z)
        values, vectors, _ = _components(codes)
        return _made("ganspace", place, vectors, values, k, codes, 1.0)
    codes, said = _answers(place, z)
    values, components, centred = _components(said[0])
    x = codes - codes.mean(0)
    most = min(len(values), x.shape[1])  # an affine layer's answers vary in no more ways than its code
    along = centred @ components[:most].T  # [n, most]
    kept = values[:most] > 1e-12 * values[0].clamp(min=1e-300)
    back = (
        along[:, kept] / (values[:most][kept] * (count - 1))
    ).T @ x  # components are uncorrelated: one division each
    return _made("ganspace", place, back, values[:most][kept], k, codes, 1.0, whole=float(values.sum()))


def show(
    model: Made, found: Directions, *, frames: int = 7, reach: float = 3.0, seed: int = 0, y: int | None = None
) -> Tensor:
    """One sample moved -reach..reach deviations along each direction, float32 [k, frames, C, H, W]."""
    pictures_only(model, "directions")
    place = Space(model.game, found.space, y=y)
    with torch.no_grad():
        code = place.codes_of(model.game.latent(1, seed=seed))
    steps = torch.linspace(-reach, reach, frames, dtype=torch.float64)
    by = steps.view(1, -1, 1) * (found.scale.view(-1, 1) * found.vectors).unsqueeze(1)
    images = place.images(place.moved(code.expand(by.shape[0] * frames, -1), by.flatten(0, 1)))
    return images.view(len(found.vectors), frames, *images.shape[1:])


# ---- what they are made of ----------------------------------------------------------------------------------------


def _place(model: Made, space: str | None, y: int | None) -> Space:
    return Space(model.game, space or ("w" if style_of(model.game) is not None else "z"), y=y)


@torch.no_grad()
def _codes(place: Space, z: Tensor) -> Tensor:
    """What may be moved of the codes of latents, float64 [n, free], on the host."""
    codes = torch.cat([place.codes_of(part) for part in torch.split(z, 1024)])
    return codes[:, : codes.shape[1] - place.fixed].cpu().double()


@torch.no_grad()
def _answers(place: Space, z: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Codes [n, free] and what each layer that reads them says, [n, m] each; float64 on the host.

    In w every layer that is given the style itself, in z the first one with weights.
    """
    pieces, root = [], _root(place, z)
    for part in torch.split(z, CHUNK):
        codes = place.codes_of(part)
        heard = _Heard(codes if place.name == "w" else None)
        hooks = [m.register_forward_hook(heard) for m in root.modules() if _weighs(m)]
        try:
            place.make(codes)
        except _Enough:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        pieces.append(heard.said)
    if not pieces[0]:
        raise InputError(
            "directions: no linear layer or convolution of this generator reads its latent, so there are no first weights"
        )
    return _codes(place, z), [torch.cat(answers) for answers in zip(*pieces, strict=True)]


def _root(place: Space, z: Tensor) -> nn.Module:
    """Where layers are looked for: in the game, or in that of several generators which these latents choose."""
    mixture = next((part for part in place.game.made_of().values() if isinstance(part, Mixture)), None)
    if mixture is None:
        return place.game
    share = 0.5 * (1 + math.erf(float(z[0, -1]) / math.sqrt(2)))
    return mixture.generators[min(int(len(mixture.generators) * share), len(mixture.generators) - 1)]


class _Enough(Exception):
    """The first layer has spoken: the rest of the generator need not run."""


class _Heard:
    """What layers say, [n, m] float64 on the host: all that are given these codes, or the first of all."""

    def __init__(self, codes: Tensor | None) -> None:
        self.codes = codes
        self.said: list[Tensor] = []

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        if self.codes is None or (inputs[0].shape == self.codes.shape and torch.equal(inputs[0], self.codes)):
            self.said.append(out.flatten(1).cpu().double())
        if self.codes is None:
            raise _Enough


def _weighs(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.modules.conv._ConvNd)


def _components(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Variances [r] and unit components [r, m] of rows [n, m], the largest first, and the rows centred; exact."""
    centred = x - x.mean(0)
    _, s, components = torch.linalg.svd(centred, full_matrices=False)
    return s.square() / (len(x) - 1), components, centred


def _made(
    method: str, place: Space, vectors: Tensor, values: Tensor, k: int, codes: Tensor, linear: float,
    whole: float | None = None,
) -> Directions:  # fmt: skip
    if k < 1:
        raise InputError(f"k={k}: ask for at least one direction")
    values = values.clamp(min=0)
    share = values / max(float(values.sum()) if whole is None else whole, 1e-300)
    vectors = vectors[:k] / vectors[:k].norm(dim=1, keepdim=True)
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    vectors = vectors * largest.sign()
    scale = (codes @ vectors.T).std(0)
    return Directions(method, place.name, vectors, values[:k], share[:k], scale, linear)
