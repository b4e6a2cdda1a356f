"""Numbers that are none: what is not finite, and a loss scale that falls to keep it out."""

from __future__ import annotations

import math

from gantlet.doctor import remedies
from gantlet.doctor.finding import Measure, Seen, Sign, detects
from gantlet.doctor.trends import since

_EARLY = 50  # steps in which a loss scale looks for its place: it begins high on purpose
_RECENT = 20  # windows: 2,000 steps, after which a scale is doubled once if nothing overflows


@detects(
    "non-finite",
    remedies.tame_rates,
    remedies.wider_numbers,
    remedies.damp,
    remedies.slower_both,
    hold=1,
)
def nonfinite(seen: Seen) -> Sign | None:
    """A loss or a gradient is not a finite number: the first step and term are named; later numbers are worthless.

    An overflow, a division by zero, the logarithm or the root of something that is not positive, or a broken row of
    data makes one NaN, and every weight that it touches becomes one. What came first is the cause, the rest follow from
    it.
    """
    alarms = [(v, name) for name, v in seen.windows[-1].values.items() if name.startswith("alarm.")]
    if alarms:
        step, name = min(alarms)
        what = name.removeprefix("alarm.")
        shows = f"{what.partition('.')[0]}.gradient"  # its curve ends there
        return Sign((Measure("the first step with a number that is not finite", step, vital=shows),), what)
    silent = sorted(
        name for name, v in seen.windows[-1].values.items() if math.isnan(v) and _must_be_finite(seen, name)
    )
    if not silent:
        return None
    return Sign((Measure("steps of the last window with a finite value", 0.0, low=1.0, vital=silent[0]),), silent[0])


def _must_be_finite(seen: Seen, name: str) -> bool:
    """Terms, logits and steps; a gradient may overflow where its loss is scaled, which then falls."""
    turn, _, what = name.partition(".")
    scaled = f"{turn}.scale" in seen.windows[-1].values
    return what.startswith("term.") or what in ("update", "weights") or (what == "gradient" and not scaled)


@detects("non-finite", remedies.wider_numbers, remedies.tame_rates, remedies.damp, hold=1, warm=_EARLY + 1)
def loss_scale(seen: Seen, *, halvings: float = 5.0, least: float = 1.0) -> Sign | None:
    """The scale of an fp16 loss keeps falling: halved more than 5 times in 2,000 steps, or below 1 (Micikevicius et al.
    2018).

    Half precision has no numbers above 65,504. When gradients overflow, the step is left out and the scale is halved. A
    scale that falls and falls means that something large is in the network: logits, a penalty's slope, one layer.
    """
    for name in seen.windows[-1].values:
        turn, _, what = name.partition(".")
        values = since(seen, name, _EARLY + 1)[-_RECENT:] if what == "scale" else []
        if not values:
            continue
        fell = math.log2(max(values) / max(values[-1], 1e-30))
        if fell > halvings or values[-1] < least:
            measures = (
                Measure("halvings of the loss scale in the last 2,000 steps", fell, high=halvings, vital=name),
                Measure("the loss scale", values[-1], low=least, vital=name),
            )
            return Sign(measures, turn)
    return None
