"""Do the averaged weights, which are what is sampled and saved, follow the live ones?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from gantlet.core.state import Average
from gantlet.doctor.probes.case import PROBES, ROWS, Case, modes, normalises
from gantlet.doctor.vitals import apart, rows_of


@torch.no_grad()
def averages(case: Case) -> dict[str, Tensor]:
    """average_distance = |averaged - live| / |live| over G's weights, and the variety of samples of either in units of that
    of reals, for the same latents: average_diversity, live_diversity.

    Both are normalised by the statistics of the batch where there is a batch norm, as in training: nothing but their weights
    differs. Between two settled points of a dynamics that lags its average is old on purpose, and nothing is answered.
    """
    if not case.makes:
        return {}
    live = {"live_diversity": apart(rows_of(case.fake)) / case.width}
    mean = next(iter(case.state.averages.values()), None)
    if mean is None or not case.state.dynamics.settled(case.state.now):
        return live
    trained = {id(own): normalises(other) for own, other in _parts(mean)}
    with modes(mean.game, lambda module: trained.get(id(module), False)):
        made = case.made(mean.game, case.latents(ROWS))
    return {**live, "average_distance": distance(mean), "average_diversity": apart(rows_of(made)) / case.width}


def _parts(mean: Average) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Each averaged part beside the live one."""
    for name, module in mean.live.items():
        yield from zip(mean.copies[name].modules(), module.modules(), strict=True)


def distance(mean: Average) -> Tensor:
    """|averaged - live| / |live| of what makes samples."""
    name = "G" if "G" in mean.live else next(iter(mean.live))
    ours, theirs = ([w.detach() for w in side[name].parameters()] for side in (mean.copies, mean.live))
    return _norm(torch._foreach_sub(ours, theirs)) / _norm(theirs).clamp(min=1e-12)


def _norm(weights: Sequence[Tensor]) -> Tensor:
    norm: Tensor = torch.stack(torch._foreach_norm(list(weights))).norm()
    return norm


PROBES.append(averages)
