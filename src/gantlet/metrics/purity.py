"""Do the codes of a generator that was never told a class turn out to be the classes?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Game
from gantlet.metrics.about import about
from gantlet.metrics.interval import of_share
from gantlet.metrics.path_length import _still
from gantlet.metrics.sources import Kept, Source, batches_of


def assignment(costs: Sequence[Sequence[float]]) -> list[int]:
    """The column of each row of a square matrix, all different, whose costs sum to the least.

    The Hungarian method with potentials, row by row along the shortest augmenting path (Kuhn 1955; Tomizawa 1971): O(n^3).
    """
    n = len(costs)
    rows, columns = [0.0] * (n + 1), [0.0] * (n + 1)  # potentials; number n stands for none
    owner = [n] * (n + 1)  # the row that has a column
    for row in range(n):
        owner[n] = row
        at, least, came, seen = n, [math.inf] * n, [n] * n, [False] * (n + 1)
        while owner[at] != n:
            seen[at] = True
            mine = owner[at]
            for j in (j for j in range(n) if not seen[j]):
                slack = costs[mine][j] - rows[mine] - columns[j]
                if slack < least[j]:
                    least[j], came[j] = slack, at
            nearest = min((j for j in range(n) if not seen[j]), key=least.__getitem__)
            step = least[nearest]
            for j in range(n + 1):
                if seen[j]:
                    rows[owner[j]] += step
                    columns[j] -= step
                elif j < n:
                    least[j] -= step
            at = nearest
        while at != n:
            owner[at] = owner[came[at]]
            at = came[at]
    found = [0] * n
    for column in range(n):
        found[owner[column]] = column
    return found


def matched(counts: Tensor) -> dict[int, int]:
    """Code -> class, one to one, by counts [codes, classes]: most samples agree. The codes or classes over are left."""
    codes, classes = counts.shape
    n = max(codes, classes)
    square = F.pad(counts, (0, n - classes, 0, n - codes))
    found = assignment((-square.double()).tolist())
    return {code: found[code] for code in range(codes) if found[code] < classes}


def table_of(source: Source, say: Callable[[Tensor], Tensor], *, batch: int, device: torch.device) -> Tensor:
    """How many samples of each class `say` (logits [n, K]) takes for each of K: int64 [K, classes].

    Nothing of it is kept with the source: what a model says changes while it trains.
    """
    pairs: list[tuple[Tensor, Tensor]] = []
    for rows in batches_of(source, batch=batch, device=device):
        y = rows.y
        if y is None or y.ndim != 1 or bool((y < 0).any()):
            raise InputError("the held-out samples have no labels, or not all; give labelled data to compare with")
        logits = say(rows.x).cpu()
        pairs.append((F.one_hot(logits.argmax(1), logits.shape[1]), y.cpu()))
    said, truth = torch.cat([s for s, _ in pairs]), torch.cat([y for _, y in pairs])
    return (said.double().T @ F.one_hot(truth).double()).long()


@registry.metric
@about(interval="own", floor=False, of_reals=True, purity="higher")
def purity(
    real: Source,
    fake: Source,
    *,
    model: Game | None = None,  # one with `codes_of`: the game info
    held_out: Tensor | Kept | None = None,
    count: Annotated[int, Field(ge=2)] = 1000,  # fakes whose codes are read, for `information`
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time; changes memory, not the result
    seed: int = 0,
) -> dict[str, Any]:
    """The share of held-out reals whose code, as Q reads it, is the one matched to their class (Chen et al. 2016: 95 %).

    Codes and classes are matched one to one so that most agree, on the same samples: of K codes that mean nothing the
    share is a little over 1 / max(K, classes). More codes than classes leave some without a class: of codes that are
    equally frequent the share is at most classes / K, however pure they are. `matching` says which class each code was
    taken for, `information` how many nats of the `entropy` of its codes the generator gives away
    (H(c) - E -log Q(c | G(z, c)), at most I(c; x)).
    """
    codes_of = getattr(model, "codes_of", None)
    if model is None or not callable(codes_of) or not model.classes:
        raise InputError("purity is of categorical codes and this model has none; evaluate a run of the recipe infogan")
    if held_out is None:
        raise InputError("purity is of held-out reals and there are none; give data with a test split")
    with _still(model):
        device = next(model.parameters()).device
        counts = table_of(held_out, codes_of, batch=batch, device=device)
        nats = _information(model, codes_of, count, batch, seed)
    matching = matched(counts)
    codes, classes = counts.shape
    over = f"{codes} codes for {classes} classes: {codes - classes} are matched to none and count as wrong"
    total, hits = int(counts.sum()), sum(int(counts[code, y]) for code, y in matching.items())
    return {
        "purity": hits / total,
        "matching": {str(code): y for code, y in sorted(matching.items())},
        "by_code": {str(code): int(counts[code, y]) / max(1, int(counts[code].sum())) for code, y in matching.items()},
        "information": nats,
        "entropy": math.log(model.classes),
        "name": f"purity ({codes} codes)",
        "real_count": total,
        "fake_count": 0,
        "intervals": {"purity": list(of_share(hits, total))},
        "warning": over if codes > classes else "",
    }


def _information(model: Game, codes_of: Callable[[Tensor], Tensor], count: int, batch: int, seed: int) -> float:
    """H(c) - E -log Q(c | G(z, c)) in nats, over `count` fakes."""
    cost = 0.0
    for first in range(0, count, batch):
        z = model.latent(min(batch, count - first), seed=seed, first=first)
        wanted = model.classes_of(z)
        assert wanted is not None
        said = codes_of(model.generate(z))
        cost += float(F.cross_entropy(said.double(), wanted, reduction="sum"))
    return math.log(model.classes) - cost / count
