"""Traversal: one noise under the codes that a game gave a meaning."""

from __future__ import annotations

from torch import Tensor

from gantlet.explore.space import Made, pictures_only
from gantlet.games.info import traversal


def traverse(
    model: Made, *, code: int = 0, categorical: int = 0, columns: int = 10, span: float = 2.0, seed: int = 0
) -> Tensor:
    """A row for each value of a categorical code, columns along a continuous one from -span to span (Chen et al. 2016,
    figure 2), float32 [rows, columns, C, H, W]; 1 is as far as training goes. InputError for a game without codes.
    """
    pictures_only(model, "traverse")
    made = traversal(model.game, code=code, categorical=categorical, columns=columns, span=span, seed=seed)
    return made.view(-1, columns, *made.shape[1:])
