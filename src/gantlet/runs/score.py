"""The cheap score drawn on the way: how far the fakes are from held-out reals in thumbnails, and how far reals are."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.core.game import Game
from gantlet.data import Dataset
from gantlet.metrics.features import thumbnails
from gantlet.metrics.frechet import frechet
from gantlet.metrics.moments import Moments

MOST = 512
CHUNK = 64


class Score(NamedTuple):
    """A Frechet distance with the name of its space, and its floor: what held-out reals score, where those are fewer of
    them: a distance shrinks with the count, so theirs is then too high. To compare, use `gantlet evaluate`."""

    name: str
    value: float
    floor: float | None  # None: there is no held-out split


@torch.no_grad()
def thumbnail_score(game: Game, dataset: Dataset, *, n: int = MOST) -> Score:
    """Frechet distance of n fakes to the training split, and that of the held-out split."""
    device = next(game.parameters()).device
    chunks = [game.latent(min(CHUNK, n - i), seed=0, first=i) for i in range(0, n, CHUNK)]
    fakes = _moments(game.generate(z.to(device)).float().cpu() for z in chunks)
    reals = _spread(dataset, 4 * n)
    name = "FD-thumbnail" if len(dataset.spec.shape) == 3 else "FD-points"
    return Score(name, frechet(reals, fakes), _floor(dataset, reals, n))


def _floor(dataset: Dataset, reals: Moments, n: int) -> float | None:
    try:
        held = dataset.with_split("test")
    except InputError:  # a set of two images holds nothing out
        return None
    return frechet(reals, _spread(held, n)) if len(held) > 1 else None


@lru_cache(maxsize=8)  # the same every time a run looks
def _spread(dataset: Dataset, most: int) -> Moments:
    """Of up to `most` rows, evenly spread over the set."""
    count = len(dataset)
    index = torch.linspace(0, count - 1, min(most, count)).round().long()
    return _moments(dataset.rows(rows).x for rows in torch.split(index, CHUNK))


def _moments(batches: Iterable[Tensor]) -> Moments:
    small = [thumbnails(x).double() for x in batches]
    moments = Moments(small[0].shape[1], of="thumbnail")
    for x in small:
        moments.add(x)
    return moments
