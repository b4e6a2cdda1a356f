"""MIND: a sliced distance in a feature space, for a few thousand samples."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from gantlet.core import registry
from gantlet.core.registry import Slot
from gantlet.metrics.about import about
from gantlet.metrics.features import build
from gantlet.metrics.sliced import directions, held, size_of, squares
from gantlet.metrics.sources import Source, spec_of

LEAST = 1000  # samples the authors found informative; 5000 rank models as FID does with 50,000


@registry.metric
@about(mind="lower")
def mind(
    real: Source,
    fake: Source,
    *,
    features: Annotated[Any, Slot("feature")] = {"use": "raw"},  # noqa: B006 (read only)
    ways: Annotated[int, Field(ge=1)] = 1000,  # directions, as published
    seed: int = 0,  # of the directions
    batch: Annotated[int, Field(ge=1)] = 256,  # rows at a time; changes memory, not the result
) -> dict[str, Any]:
    """Monge inception distance: 3 d times the mean of W2^2 along random directions of the d features (Berthet et al.
    2026, MIND), 0 and up.

    For Gaussians that differ in the mean alone it is three times the Frechet distance. All samples are used: along a
    direction sets of different sizes are compared exactly (the paper cuts both to one size). It shrinks as the sets
    grow: compare at equal counts.
    """
    seen = build(features, lambda: spec_of(real))
    real, fake = held(real), held(fake)
    along = directions(seen.dimension, ways, seed=seed)
    r, f = (size_of(s, seen, batch) for s in (real, fake))
    return {
        "mind": 3 * seen.dimension * float(squares(real, fake, seen, along, (seed, ways), batch).mean()),
        "name": seen.called("MIND"),
        "network": seen.hash,
        "dimension": seen.dimension,
        "ways": ways,
        "real_count": r,
        "fake_count": f,
        "warning": "" if min(r, f) >= LEAST else f"{min(r, f)} samples: compare at equal counts only, or take {LEAST}",
    }
