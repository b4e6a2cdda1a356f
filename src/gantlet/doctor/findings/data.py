"""Data: batches that repeat, values on a scale or in a range that does not fit, training rows unlike the held-out ones."""

from __future__ import annotations

import itertools
import math
import statistics

from gantlet.doctor.finding import Measure, Remedy, Seen, Sign, detects
from gantlet.doctor.trends import since

# ---- the same rows again ----------------------------------------------------------------------------------------------


def more_rows(seen: Seen, sign: Sign) -> Remedy | None:
    """A set so small that every batch is nearly all of it."""
    if not _tiny(seen):
        return None
    return Remedy(
        f"Get more rows than {seen.about.count}: hundreds at the least, thousands for pictures. Until then take a smaller "
        "batch and augment; a critic learns so few by heart",
        source="Karras et al. 2020, ADA, figure 1",
    )


def mend_the_loader(seen: Seen, sign: Sign) -> Remedy | None:
    """A loader that stands still."""
    if _tiny(seen):
        return None
    return Remedy(
        "Look at what hands out batches: it must move on with the position it is asked for, be shuffled, and, where workers "
        "read for it, give each of them a seed of its own"
    )


@detects("data", more_rows, mend_the_loader)
def data_stuck(seen: Seen, *, most: float = 0.3) -> Sign | None:
    """The same real rows come again and again, bit for bit: what hands out batches is stuck, or the set has fewer rows
    than a batch.

    The critic learns the few rows it is shown by heart, and the generator is at best taught to copy them. A set that is
    long enough is read once before any row comes again, so two batches close to each other have no row in common.
    """
    repeats, about = seen.d("repeats"), seen.about
    expected = min(1.0, about.batch / about.count) if about.count else 0.0
    said = Measure(
        "share of reals that an earlier batch held too", repeats, high=max(most, expected), vital=_of(seen, "repeats")
    )
    if _tiny(seen) and repeats > most:
        return Sign(
            (said._replace(high=most), Measure("rows to train on", float(about.count), low=10.0 * about.batch)),
            _count(about.count),
        )
    return Sign((said,), "batches") if repeats > max(most, 2 * expected) else None


def _tiny(seen: Seen) -> bool:
    """Has the set fewer rows than one batch, so that a batch shows all of them, some twice?"""
    return 0 < seen.about.count < seen.about.batch


def _count(rows: int) -> str:
    return f"a set of {rows} row{'s' * (rows != 1)}"


def _of(seen: Seen, name: str) -> str:
    return f"{seen.about.critic}.{name}"


# ---- scale and range --------------------------------------------------------------------------------------------------


def rescale(seen: Seen, sign: Sign) -> Remedy:
    """By which number."""
    size = seen.d("real_size")
    return Remedy(
        f"Divide the data by {size:.2g}, the root of its mean square, and multiply samples by it afterwards; pictures "
        "belong in -1..1",
        source="LeCun et al. 1998, Efficient BackProp, section 4.3",
    )


@detects("data", rescale)
def data_scale(seen: Seen, *, large: float = 10.0, small: float = 0.01) -> Sign | None:
    """The data is on another scale than networks are initialised for: its root mean square is far from 1 (LeCun et al. 1998,
    section 4.3).

    Fresh networks answer numbers around 1 to numbers around 1, and learning rates, penalties and noise are made for that.
    On another scale the generator has far to go, and the critic tells its samples apart by their size alone.
    """
    size = seen.d("real_size")
    if size > large or size < small:
        measure = Measure("root mean square of the reals", size, small, large, _of(seen, "real_size"))
        return Sign((measure,), "real rows")
    return None


def into_range(seen: Seen, sign: Sign) -> Remedy:
    """Either the data moves or the bound goes."""
    return Remedy(
        "Bring the data into -1..1, or let the generator end in a linear layer: tanh makes nothing beyond 1",
        source="R3GAN, appendix",
    )


@detects("data", into_range, name="range")
def range_(
    seen: Seen, *, outside: float = 0.2, pressed: float = 0.3, size: float = 1.05, most: float = 0.5, stuck: int = 200
) -> Sign | None:
    """Reals lie beyond what the generator can make: its values are pressed against a bound of 1, as those of tanh are, and
    many of the reals' are larger; or half of the reals' are beyond all of its values for 200 steps.

    The critic needs to look at nothing but the size of a value to tell the two apart. The generator does what it can and
    saturates, where its gradient vanishes.
    """
    beyond, edge = seen.d("outside"), seen.d("edge")
    # the reals' own size tells data beyond the bound from pictures that are mostly black and white, at the bound itself
    if not (beyond > outside and seen.d("fake_size") <= 1.0 and seen.d("real_size") > size):
        return None
    out = Measure(
        "share of the reals' values beyond all of the samples'", beyond, high=outside, vital=_of(seen, "outside")
    )
    if edge > pressed:
        at = Measure("share of the samples' values within 0.01 of 1 or -1", edge, high=pressed, vital=_of(seen, "edge"))
        return Sign((out, at), "real rows")
    # a bound may lie below 1, and what comes before it may never reach it
    if seen.step > stuck and min(since(seen, _of(seen, "outside"), stuck // 2)) > most:
        return Sign((out._replace(high=most),), "real rows")
    return None


# ---- training rows and held-out rows ----------------------------------------------------------------------------------


def look_at_the_split(seen: Seen, sign: Sign) -> Remedy:
    """Classes, sources and order of either split."""
    return Remedy(
        "Compare the two splits: classes or kinds that a filter, a sampler or a sorted file keeps out of the training "
        "batches, another preparation, another source"
    )


@detects("data", look_at_the_split)
def shift(
    seen: Seen,
    *,
    off: float = 4.0,
    unseen: float = 0.02,
    fell: float = 0.3,
    told: float = 0.06,
    epochs: float = 8.0,
    patience: int = 100,
) -> Sign | None:
    """Held-out rows are not of the kind that is trained on: their middle lies elsewhere, their classes are other ones,
    or the critic finds them less real than samples, or more so than the rows it learns from.

    What is trained on and what is held out should be drawn alike. Where they can be told apart, and not because the critic
    knows rows by heart, some kinds of rows are missing in one of them. The generator learns none of the kinds that it is
    never shown.
    """
    far = middles_apart(seen)
    if far > off:
        name = "distance of the middles of batches and of held-out rows, in standard errors"
        return Sign((Measure(name, far, high=off, vital=_of(seen, "real_mean")),), WHO)
    strange = seen.measured("probe.unseen")
    if strange > unseen:
        measure = Measure(
            "share of held-out rows of classes that are never trained on", strange, high=unseen, vital="probe.unseen"
        )
        return Sign((measure,), WHO)
    passes = seen.step * seen.about.batch / seen.about.count if seen.about.count else 0.0
    found = [seen.past(f"probe.{name}", 2) for name in ("train_fake_gap", "held_gap", "held_auc")]
    if seen.step < patience or passes > epochs or min(map(len, found)) < 2:
        return None
    if not _unlike(found[0], found[1], found[2], fell, told):
        return None
    gap, held, auc = (values[-1] for values in found)
    return Sign(
        (
            Measure("advantage lost on held-out rows", held / gap if gap else math.inf, -0.5, 0.5, "probe.rv"),
            Measure("AUC of training rows over held-out ones", auc, 0.5 - told, 0.5 + told, "probe.held_auc"),
        ),
        WHO,
    )


WHO = "training rows against held-out rows"
LOOKS = 3  # in the shortest window: as many batches say where the middle of the reals is, at the least


def middles_apart(seen: Seen) -> float:
    """How far the middle of all batches is from that of held-out rows, in standard errors: the largest of the directions
    that are followed. NaN where batches differ from the split on purpose, or nothing is held out."""
    about, rows = seen.about, seen.measured("probe.held_count")
    if about.get("balanced") or about.get("flip") or not rows > 1:
        return math.nan
    found: list[float] = []
    for k in itertools.count():
        middle, width = seen.past(f"{about.critic}.real_at.{k}"), seen.d(f"width.{k}")
        held = seen.measured(f"probe.held_at.{k}")
        if not middle or math.isnan(held):
            return max(found, default=math.nan)
        error = width * math.sqrt(1 / rows + 1 / (about.batch * LOOKS * len(middle)))
        found.append(abs(statistics.fmean(middle) - held) / error if error > 0 else 0.0)
    return math.nan


def _unlike(gaps: list[float], held: list[float], aucs: list[float], fell: float, told: float) -> bool:
    """Were held-out rows worse than training rows all along, and are they now worse than samples? Or better, and by much?"""
    worse = min(held) > fell and min(aucs) > 0.5 + told and held[-1] > gaps[-1]
    better = max(held) < -fell and max(aucs) < 0.5 - told and held[-1] < -abs(gaps[-1]) / 2
    return worse or better
