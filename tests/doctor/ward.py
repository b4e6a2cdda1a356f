"""Hand-made windows, and detectors of a test's own, for what reads them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gantlet.core.registry import use
from gantlet.doctor.diagnosis import Diagnosis
from gantlet.doctor.finding import About, Detector, Measure, Remedy, Seen, Sign
from gantlet.doctor.window import Window

ABOUT = About(
    critic="D", generator="G", players={"D": "D", "G": "G"}, tree={"game": {"adversarial": use("non-saturating")}}
)
WELL = {"D.auc": 0.6, "D.diversity": 0.97, "D.gap.z": 1.5, "D.term.D": 1.3, "G.term.G": 0.7, "G.slope.fake": 0.1,
        "D.gradient": 0.2}  # fmt: skip


def slower(seen: Seen, sign: Sign) -> Remedy | None:
    return Remedy("half the rate of D", ("players.D.lr=0.0001",), "Heusel et al. 2017")


def advice(seen: Seen, sign: Sign) -> Remedy | None:
    return Remedy("look at the samples")


def never(seen: Seen, sign: Sign) -> Remedy | None:
    return None


def strong(seen: Seen) -> Sign | None:
    """D tells all fakes from reals, and says so (nobody 2026).

    It learns faster than G does.
    """
    auc = seen.d("auc")
    return Sign((Measure("the critic's AUC", auc, None, 0.95, "D.auc"),), "D") if auc > 0.95 else None


def alike(seen: Seen) -> Sign | None:
    """All samples are alike.

    G found one that <D> likes & stays there.
    """
    far = seen.d("diversity")
    return Sign((Measure("diversity", far, 0.8, None, "D.diversity"),)) if far < 0.8 else None


def broken(seen: Seen) -> Sign | None:
    """Something is not a number.

    It was divided by zero.
    """
    step = seen.now("alarm.D.D")
    return None if math.isnan(step) else Sign((Measure("first bad step", step),), "D, term D")


def detectors() -> dict[str, Detector]:
    """Of three ranks, the cause last: the order in which they are registered must not matter."""
    made: list[tuple[str, str, Callable[..., Any], Any]] = [
        ("alike", "outcome", alike, ()),
        ("strong", "dynamics", strong, (never, slower, advice)),
        ("broken", "non-finite", broken, (advice,)),
    ]
    return {name: Detector(name, rank, fn, remedies, hold=1, warm=0) for name, rank, fn, remedies in made}


def windows(*changes: dict[str, float]) -> list[Window]:
    """One window of 100 steps each: what is seen when all is well, with changes."""
    return [Window(100 * i + 1, 100 * (i + 1), {**WELL, **change}) for i, change in enumerate(changes)]


def seen_through(*changes: dict[str, float], about: About = ABOUT) -> Diagnosis:
    """What was found in them (under the detectors that are known while this is called)."""
    return Diagnosis.of(about, windows(*changes))
