"""Vitals in plain words: what each of the chief ones is, and where it lies while all is well."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch

from gantlet.core import registry
from gantlet.doctor.diagnosis import Diagnosis, series
from gantlet.doctor.finding import About, Measure


class Reading(NamedTuple):
    """One vital as a person reads it."""

    vital: str  # its name in a window
    title: str
    value: float  # in the last window that has it
    low: float | None
    high: float | None
    text: str
    always: bool  # is it worth a line where it lies inside the band?

    @property
    def inside(self) -> bool:
        return within(self.value, self.low, self.high)


class Plain(NamedTuple):
    """How a vital is read. `name` may hold {D} and {G}, the turns of the critic and of the generator."""

    name: str
    title: str
    low: float | None  # the band says where trainings that go well stay; the detectors have thresholds of their own
    high: float | None
    say: Callable[[float, float], str]  # (now, at the beginning)
    always: bool = True  # or only outside the band, being of no interest inside


def percent(value: float) -> str:
    return f"{100 * value:.3g} %"


# in the order in which one asks: does D see a difference, do fakes vary, does it come to rest, is G still taught?
PLAIN = (
    Plain("{D}.auc", "pairs that the critic ranks rightly", None, 0.99,
          lambda v, _: f"the critic ranks a real above a fake in {percent(v)} of pairs (50 %: cannot tell, 100 %: can)"),
    Plain("{D}.diversity", "diversity of the samples", 0.8, 3.0,
          lambda v, _: f"samples lie {v:.3g} times as far apart as reals do (below 0.8: few kinds of them)"),
    Plain("{D}.features_diversity", "diversity of the samples in the critic's eyes", None, None,
          lambda v, _: f"in the critic's eyes they lie {v:.3g} times as far apart"),
    Plain("{D}.gap.z", "swing of the critic's advantage", None, 4.0,
          lambda v, _: f"the critic's advantage swings {v:.3g} times as much as chance has it (above 4: they may circle)"),
    Plain("{D}.centre.z", "swing of the samples' middle", None, 4.0,
          lambda v, _: f"the middle of the samples wanders {v:.3g} times as much as chance (above 4: they may circle)",
          always=False),
    Plain("{G}.slope.fake", "slope of the generator's loss at the samples, which is all that it learns from", None, None,
          lambda v, then: f"the slope that the generator learns from is {v:.3g}; at the beginning it was {then:.3g}"),
    Plain("{D}.repeats", "reals that were in an earlier batch too", None, 0.5,
          lambda v, _: f"{percent(v)} of the reals were in the batch looked at before", always=False),
    Plain("probe.held_auc", "pairs of a training row and a held-out real that the critic ranks so", 0.35, 0.65,
          lambda v, _: f"it ranks a real it was trained on above a held-out one in {percent(v)} of pairs (50 %: it knows "
                       "none by heart)"),
    Plain("probe.slope_ratio", "the critic's squared slope at fakes over that at reals", None, 3.0,
          lambda v, _: f"the critic is {v:.3g} times as steep at fakes as at reals, squared", always=False),
)  # fmt: skip


def readings(diagnosis: Diagnosis) -> list[Reading]:
    """The chief vitals of a training that were seen, each as it was last."""
    found = []
    for plain in PLAIN:
        name = plain.name.format(D=diagnosis.about.critic, G=diagnosis.about.generator)
        _, values = series(diagnosis.windows, name)
        if values:
            last, said = values[-1], plain.say(values[-1], values[0])
            found.append(Reading(name, plain.title, last, plain.low, plain.high, said, plain.always))
    return found


def within(value: float, low: float | None, high: float | None) -> bool:
    """No for NaN, whatever the band."""
    return (low is None or value >= low) and (high is None or value <= high) and not math.isnan(value)


def band(low: float | None, high: float | None) -> str:
    """Where a healthy value lies, in words; empty where there is no bound."""
    if low is None and high is None:
        return ""
    if low is None:
        return f"at most {high:.4g}"
    if high is None:
        return f"at least {low:.4g}"
    return f"{low:.4g} to {high:.4g}"


def times_outside(measure: Measure) -> float:
    """By which factor a value is beyond its bound; 1 inside, and where a factor says nothing."""
    value, low, high = measure.value, measure.low, measure.high
    if high is not None and high > 0 and value > high:
        return value / high
    if low is not None and 0 < value < low:
        return low / value
    return 1.0


# ---- the loss of D, which everybody looks at -------------------------------------------------------------------------


def loss_of_d(diagnosis: Diagnosis) -> float:
    """D's adversarial loss in the last window that has it; NaN where none is seen."""
    turn = diagnosis.about.critic
    return next(iter(series(diagnosis.windows, f"{turn}.term.{turn}")[1][-1:]), math.nan)


def ignorant(about: About) -> float:
    """What D pays at best if it cannot tell reals from fakes: the least of d(c, c) over logits c.

    2 log 2 of the non-saturating loss, 2 of the hinge, log 2 of a relativistic pair, 0 of losses that are distances.
    NaN where there is no such least, or where the loss is not known.
    """
    tree = about.get("game.adversarial")
    if not isinstance(tree, dict) or tree.get("use") not in registry.adversarial.parts:
        return math.nan
    pair = registry.bind("adversarial", tree, total=None)()
    if not pair.ordered or pair.state is not None:  # its logits have no common scale, or its loss changes as it goes
        return math.nan
    rows = torch.linspace(-3, 3, 61).unsqueeze(1).expand(-1, 8)  # several equal logits, for losses that compare rows
    costs = torch.stack([pair.d(row, row) for row in rows])
    best = int(costs.argmin())
    flat = bool((costs.max() - costs.min()) < 1e-4)
    if best in (0, len(rows) - 1) and not flat:
        return math.nan
    critics = about.get("game.critics", 1)  # whose losses are summed
    return float(costs[best]) * (critics if isinstance(critics, int) else 1)
