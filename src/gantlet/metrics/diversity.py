"""How unlike each other the samples are, as a network sees them, next to how unlike each other the reals are.

The distance is that of LPIPS (Zhang et al. 2018, eq. 1) without its learned heads, and so does not bear its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.registry import Slot
from gantlet.metrics.about import about
from gantlet.metrics.features import Features, build, features_of
from gantlet.metrics.interval import GROUPS, jackknife
from gantlet.metrics.sources import Source, batches_of, dealt, spec_of, sum_up

_PIXELS = 2**19  # shown to a network at once where all its stages are kept
_SAME = 1e-12  # a mean distance under which only rounding is left

Stages = Callable[[Tensor], list[Tensor]]


def stages_of(features: Features) -> Stages | None:
    """Samples [n, C, H, W] in -1..1 -> the network's activation maps [n, c, h, w]; None where it offers none.

    A network offers them by a method `stages(x) -> list[Tensor]`, x being what `Features.adapt` makes of samples.
    """
    if features.after is not None or not callable(getattr(features.net, "stages", None)):
        return None
    stages = cast(Stages, features.net.stages)

    @torch.no_grad()
    def maps(x: Tensor) -> list[Tensor]:
        return stages(features.adapt(x.to(features.device)))

    return maps


def at_once(features: Features, x: Tensor) -> int:
    """How many samples like these a network may be shown at once where all its stages are kept."""
    h, w = features.size or x.shape[-2:]
    return max(1, _PIXELS // (h * w))


def unit(maps: Tensor) -> Tensor:
    """Each place's channels at length 1 (or all zero): [n, c, ...], at least float32."""
    return F.normalize(maps.to(torch.promote_types(maps.dtype, torch.float32)), dim=1, eps=1e-10)


def places(maps: Tensor) -> Tensor:
    """[n, c, ...] -> [n, c, number of places], where float64 is known."""
    maps = maps.cpu() if maps.device.type == "mps" else maps
    return maps.flatten(2) if maps.ndim > 2 else maps.unsqueeze(2)


def unlike(one: list[Tensor], other: list[Tensor]) -> Tensor:
    """Sum over stages of the mean over places of |u - v|^2, u and v at length 1: lists of maps -> float64 [n]."""
    parts = [places((unit(a) - unit(b)).square()).sum(1) for a, b in zip(one, other, strict=True)]
    return torch.stack([p.cpu().double().mean(1) for p in parts]).sum(0)


@dataclass(frozen=True)
class Spread:
    """The mean distance over all pairs, the same with each tenth of the samples left out, and their count."""

    mean: float
    less: list[float]
    count: int


def spread_of(source: Source, features: Features, *, batch: int = 256) -> Spread:
    """The mean of `unlike` over all N (N - 1) / 2 pairs, in one pass: 2 / (N - 1) (sum |u|^2 - |sum u|^2 / N)."""

    def make(source: Source) -> Spread:
        sums: list[Tensor] = []  # of each stage, dealt into groups: [GROUPS, c, places]
        squares, counts = torch.zeros(GROUPS, dtype=torch.float64), torch.zeros(GROUPS, dtype=torch.int64)
        for maps in _maps(source, features, batch):
            flat = [places(unit(m)) for m in maps]
            sums = sums or [torch.zeros(GROUPS, *m.shape[1:], dtype=torch.float64, device=m.device) for m in flat]
            first = int(counts.sum())
            group = dealt(first, len(flat[0]), GROUPS)
            counts += torch.bincount(group, minlength=GROUPS)
            for stage, m in zip(sums, flat, strict=True):
                length = torch.linalg.vector_norm(m.flatten(1), dim=1, dtype=torch.float64)
                squares.index_add_(0, group, length.cpu().square() / m.shape[2])
                for j in sorted(set(group.tolist())):
                    stage[j] += m[(group == j).to(m.device)].sum(0, dtype=torch.float64)
        return _spread(sums, squares, counts)

    return sum_up(source, ("diversity", features.key), make)


def _maps(source: Source, features: Features, batch: int) -> Iterator[list[Tensor]]:
    stages = stages_of(features)
    if stages is None:
        yield from ([x] for x in features_of(source, features, batch=batch))
        return
    for rows in batches_of(source, batch=batch, device=features.device):
        for x in torch.split(rows.x, at_once(features, rows.x)):
            yield stages(x)


def _spread(sums: list[Tensor], squares: Tensor, counts: Tensor) -> Spread:
    if int(counts.sum()) < 2:
        raise InputError("diversity is of pairs and there is 1 sample; take at least 2")

    products = torch.stack([(s.flatten(1) @ s.flatten(1).T / s.shape[2]).cpu() for s in sums]).sum(0)

    def mean(less: int | None) -> float:
        """Over all pairs without the group `less`."""
        keep = torch.tensor([j != less for j in range(GROUPS)])
        n = int(counts[keep].sum())
        middle = float(products[keep][:, keep].sum())
        return max(0.0, 2 / (n - 1) * (float(squares[keep].sum()) - middle / n))

    enough = int(counts.min()) >= 2
    return Spread(mean(None), [mean(j) for j in range(GROUPS)] if enough else [], int(counts.sum()))


@registry.metric
@about(interval="own", diversity="higher", ratio="neither")
def diversity(
    real: Source,
    fake: Source,
    *,
    features: Annotated[Any, Slot("feature")] = {"use": "raw"},  # noqa: B006 (read only)
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """Mean over all pairs of fakes of sum_l mean_hw |u_l - v_l|^2, u = unit-normalised channels (Zhang et al. 2018).

    LPIPS without its learned heads, over the network's stages, or over its features where it shows none (2 - 2 cosine).
    `ratio` is to the same of the reals: under 1 the fakes are too much alike, over 1 they hold what reals do not
    (noise is diverse).
    """
    seen = build(features, lambda: spec_of(real))
    r, f = (spread_of(side, seen, batch=batch) for side in (real, fake))
    if r.mean < _SAME:
        raise InputError("all reals are the same sample; there is no diversity to compare with")
    intervals = {}
    if f.less:
        low, high = jackknife(f.mean, f.less)[:2]
        intervals = {"diversity": [low, high], "ratio": [low / r.mean, high / r.mean]}
    few = f"{f.count} fakes are too few for an interval; take at least {2 * GROUPS}"
    return {
        "diversity": f.mean,
        "real_diversity": r.mean,
        "ratio": f.mean / r.mean,
        "names": {"diversity": f"Diversity-{seen.name}", "ratio": f"Diversity-{seen.name} / reals"},
        "network": seen.hash,
        "stages": stages_of(seen) is not None,
        "real_count": r.count,
        "fake_count": f.count,
        "intervals": intervals,
        "warning": "" if f.less else few,
    }
