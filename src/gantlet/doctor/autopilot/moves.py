"""What is done about which finding, and what counts as having made it worse."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from gantlet.doctor.diagnosis import Finding
from gantlet.doctor.finding import RANKS, Measure, Sign

WORSE = 1.5  # so many times as far from the healthy band is not noise; held for two windows, as findings are
TWICE = 2
FAR = 1e9  # what is not a number is this far outside


class Move(NamedTuple):
    """Turn a knob of this kind by this ratio; None: make usual what is far from it in this way (see `unusual`)."""

    knob: str  # WHO, CRITIC, GENERATOR: the player that the finding is about, or that of this turn
    ratio: float | None = None


# Those that this training has a knob for, and that were not taken back, are made in turn while the finding holds. What
# a game lacks (a penalty, another loss) is not put in: the doctor says so, and the user decides. What is far from usual
# comes first and goes all the way: a training is too short for factors of two.
HOT, HEAVY, FAINT = (Move(word) for word in ("hot", "heavy", "faint"))
MOVES: dict[str, tuple[Move, ...]] = {
    # a turn of the game by h f' is damped by h gamma (Mescheder, Geiger and Nowozin 2018)
    "limit-cycle": (HOT, FAINT, Move("penalty", 2.0), Move("lr", 0.5)),
    "fake-slope": (FAINT, Move("penalty", 2.0)),
    "exploding": (HOT, FAINT, Move("penalty", 2.0), Move("lr", 0.5)),
    "small-steps": (Move("slow.WHO"),),
    "heavy-penalty": (HEAVY,),
    # a critic that wins is smoothed; one that loses under a penalty is let go
    "overpowered": (HOT, Move("cold.GENERATOR"), FAINT, Move("penalty", 2.0)),
    "underpowered": (HOT, Move("cold.CRITIC"), HEAVY, Move("penalty", 0.5)),
    "stiff": (HOT, HEAVY, Move("penalty", 0.5), Move("lr", 0.5)),  # period 2: h gamma is above its limit of 2
    "reinflation": (Move("lr", 0.5),),  # Adam's step grows again where gradients vanish
    "overfit": (Move("augment", 2.0),),
}
RUIN = ("diverged", "collapse")  # what a rollback is for


@dataclass
class Trial:
    """A move that may still have to be taken back."""

    kind: str  # of knob
    ratio: float
    before: float
    after: float
    finding: str
    rank: str
    deviation: float
    held: str  # names of what held already, a space between them
    until: int  # the last window in which it is judged
    worse: int = 0  # windows in a row with a larger deviation

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def verdict(self, holding: Mapping[str, Finding]) -> str:
        """Why this window says that the move did harm; "" where it does not."""
        known = self.held.split()
        above = [
            f.name
            for f in holding.values()
            if f.name not in known and (RANKS.index(f.detector.rank) < RANKS.index(self.rank) or f.name in RUIN)
        ]
        if above:
            return f"{above[0]} appeared"
        now = deviation(holding[self.finding].sign) if self.finding in holding else 0.0
        self.worse = self.worse + 1 if now > WORSE * self.deviation else 0
        return f"{self.finding} became worse" if self.worse >= TWICE else ""


def deviation(sign: Sign) -> float:
    """How far the worst measure is outside of its healthy band, in units of the bound that it crosses."""
    return max((_outside(m) for m in sign.measures), default=0.0)


def _outside(measure: Measure) -> float:
    over = [] if measure.high is None else [(measure.value - measure.high, measure.high)]
    under = [] if measure.low is None else [(measure.low - measure.value, measure.low)]
    found = [off / max(abs(bound), 1e-3) for off, bound in over + under]
    return FAR if any(math.isnan(off) for off in found) else min(max([0.0, *found]), FAR)
