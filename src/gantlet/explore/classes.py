"""Class morphing: one latent from class to class, through what the network takes a class for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gantlet.core.errors import InputError
from gantlet.explore.space import CHUNK, Made, pictures_only

_CODES = (F.embedding, F.one_hot, torch.eq, Tensor.eq, Tensor.__eq__)  # `y.unsqueeze(1) == arange(K)` is one-hot too
_NEAR = 1e-3  # by which the image of an embedding that has arrived may differ from the class's own


class Between(TorchFunctionMode):
    """While it is on, embeddings and one-hot codes of labels `a` are (1 - t) e(a) + t e(b); labels int64 [N], t [N].

    It catches `F.embedding` (what nn.Embedding calls), `F.one_hot` and `y.unsqueeze(1) == arange(K)`: a network that hears
    its class through these can be asked for what lies between two.
    """

    def __init__(self, a: Tensor, b: Tensor, t: Tensor) -> None:
        super().__init__()
        self.a, self.b, self.t, self.heard = a, b, t, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _CODES and args and self._is_label(args[0]):
            self.heard += 1
            a, b = (func(y.view_as(args[0]), *args[1:], **kwargs).to(self.t.dtype) for y in (self.a, self.b))
            return torch.lerp(a, b, self.t.view(-1, *[1] * (a.dim() - 1)))
        return func(*args, **kwargs)

    def _is_label(self, given: Any) -> bool:
        whole = isinstance(given, Tensor) and given.dtype == self.a.dtype and given.numel() == len(self.a)
        return whole and torch.equal(given.flatten(), self.a)


@contextmanager
def _between(a: Tensor, b: Tensor, t: Tensor) -> Iterator[Between]:
    mode = Between(a, b, t)
    with mode:
        yield mode


@torch.no_grad()
def morph(
    model: Made, classes: Sequence[int], *, frames: int = 8, n: int = 4, seed: int = 0, loop: bool = False
) -> Tensor:
    """n latents from class to class, `frames` a leg, float32 [n, frames in all, C, H, W]; the last class is arrived at.

    InputError where the model knows no classes, or hears them in another way than through embeddings or one-hot codes:
    fading one picture into the other would be no morphing.
    """
    pictures_only(model, "classes")
    game = model.game
    wrong = [c for c in classes if not 0 <= c < game.classes]
    if not game.classes:
        raise InputError("classes: this model knows no classes; it was trained with conditional=false")
    if wrong or len(classes) < 2 or frames < 1:
        raise InputError(
            f"classes={list(classes)}: name at least two of 0..{game.classes - 1}, with at least one frame"
        )
    stops = [*classes, *([classes[0]] if loop else [])]
    legs = list(itertools.pairwise(stops))
    z = game.latent(n, seed=seed)
    _refuse_deaf(game, z, *legs[0])
    columns = []
    for a, b in legs:
        columns += [_made(game, z, a, b, i / frames) for i in range(frames)]
    if not loop:
        columns.append(_made(game, z, *legs[-1], 1.0))
    return torch.stack(columns, 1)


def _made(game: Any, z: Tensor, a: int, b: int, t: float) -> Tensor:
    made = []
    for part in torch.split(z, CHUNK):
        ya, yb = (torch.full((len(part),), y, device=z.device) for y in (a, b))
        with _between(ya, yb, torch.full((len(part),), t, device=z.device)):
            made.append(game.generate(part, ya).float().cpu())
    x = torch.cat(made)
    return x.clamp_(-1, 1)


def _refuse_deaf(game: Any, z: Tensor, a: int, b: int) -> None:
    """Arriving at b must be b: then all that the network is told of the class went through what is interpolated."""
    z = z[:2]
    ya, yb = (torch.full((len(z),), y, device=z.device) for y in (a, b))
    with _between(ya, yb, torch.ones(len(z), device=z.device)) as mode:
        arrived = game.generate(z, ya)
    if not mode.heard or float((arrived - game.generate(z, yb)).abs().max()) > _NEAR:
        raise InputError(
            "classes: this network does not hear its class through embeddings or one-hot codes alone, so there is nothing "
            "between two classes to ask it for; interpolate within a class instead (explore interpolate --class)"
        )
