"""Where a game's players go from here: the eigenvalues of its field, and of the rounds that are played in it."""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gantlet.core.dynamics import Alternating, Simultaneous, name_of
from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.game import Data
from gantlet.core.noise import normal
from gantlet.core.state import State
from gantlet.doctor.deep.arnoldi import Ritz, arnoldi
from gantlet.doctor.deep.imagined import imagined
from gantlet.doctor.deep.jacobian import Jacobian, Round

SLACK = 1e-4  # of a multiplier's modulus: float32 and a batch tell no smaller difference from 1
HALF = 0.5  # of the radius that is left after a full turn: more, and it is turning rather than arriving


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues at the rim of the spectrum of J, the Jacobian of all players' gradients, and of one round.

    `values`: of J; descent shrinks what has a positive real part and turns what has an imaginary one. `steps`: what a round
    of this training multiplies small deviations by, the largest modulus first; it shrinks what is inside the unit circle.
    Both say what happens near a point of rest; elsewhere, how neighbours of the path drift from it.
    """

    values: tuple[Ritz, ...]
    steps: tuple[Ritz, ...]
    size: int  # weights
    gradient: float  # norm of the joint gradient: 0 at a point of rest
    rates: dict[str, float]  # player -> learning rate
    played: str  # the dynamics of the rounds: alternating or simultaneous
    dynamics: str  # the dynamics of the training
    mean_of: int = 1  # fields that differ in what is due

    @property
    def largest(self) -> complex:
        """Of J, by modulus."""
        return max((r.value for r in self.values), key=abs, default=0j)

    @property
    def steepest(self) -> float:
        """The largest real part: descent with a rate above 2 over it overshoots."""
        return max((r.value.real for r in self.values), default=0.0)

    @property
    def lowest(self) -> float:
        """The smallest real part: below 0 descent moves away."""
        return min((r.value.real for r in self.values), default=0.0)

    @property
    def turning(self) -> float:
        """The largest imaginary part."""
        return max((r.value.imag for r in self.values), default=0.0)

    @property
    def angle(self) -> float:
        """Of the eigenvalue that turns most, in degrees: 0 goes straight in, 90 goes round, 180 straight out."""
        value = max((r.value for r in self.values), key=lambda v: v.imag, default=0j)
        return math.degrees(abs(cmath.phase(value))) if value.imag > 0 else 180.0 if self.lowest < 0 else 0.0

    @property
    def growth(self) -> float:
        """What a round multiplies the worst deviation by."""
        return max((abs(r.value) for r in self.steps), default=1.0)

    @property
    def verdict(self) -> str:
        """converges; rotates: goes round without arriving; diverges: swings ever further; slides: moves off without
        swinging, as every training does that still learns."""
        return self._judged[0]

    @property
    def how(self) -> str:
        """The verdict in plain words."""
        return self._judged[1]

    @cached_property
    def _judged(self) -> tuple[str, str]:
        out = [r.value for r in self.steps if abs(r.value) - 1 > max(SLACK, r.residual)]
        swings = [v for v in out if _swings(v)]
        if swings:
            worst = max(swings, key=abs)
            long = abs(cmath.phase(worst)) > math.pi / 2
            what = "steps are too long for the steepest direction" if long else "the players spiral outwards"
            return "diverges", f"{what}: a swing doubles every {_times(worst, 2):,.1f} steps"
        if out:
            steps = _times(max(out, key=abs), 2)
            return "slides", (
                f"the players move off along a direction without swinging (a deviation doubles every {steps:,.1f} steps), "
                "as they do while they learn; at a point of rest it would be a saddle" + self._swinging()
            )
        swings = [r.value for r in self.steps if _swings(r.value) and abs(r.value - 1) > SLACK]
        if max(map(_after_a_turn, swings), default=0.0) > HALF:
            return "rotates", f"the players go round and do not arrive{self._swinging()}"
        slowest = max((r.value for r in self.steps if abs(r.value) < 1 - SLACK), key=abs, default=None)
        halves = f": the slowest of those seen halves every {_times(slowest, 0.5):,.1f} steps" if slowest else ""
        return "converges", f"deviations die out{halves}"

    def _swinging(self) -> str:
        """What becomes of the longest-lived swing, where there is one."""
        swings = [r.value for r in self.steps if _swings(r.value) and abs(r.value - 1) > SLACK]
        if not swings:
            return ""
        worst = max(swings, key=_after_a_turn)
        turn = 2 * math.pi / abs(cmath.phase(worst))
        return f". The worst swing takes {turn:,.0f} steps and leaves {_after_a_turn(worst):.0%} of the distance"

    def __str__(self) -> str:
        moved = ", ".join(f"{name} {rate:g}" for name, rate in self.rates.items())
        turned = f" ({self.angle:.0f} degrees off the way down)" if self.turning > 0 else ""
        lines = [
            f"The game's Jacobian ({self.size:,} weights): largest eigenvalue {_short(self.largest)}, real parts from "
            f"{self.lowest:.3g} to {self.steepest:.3g}, imaginary parts up to {self.turning:.3g}{turned}.",
            f"It {self.verdict} under {self.played} steps (learning rates {moved}): {self.how}.",
        ]
        if self.dynamics != self.played:
            lines.append(
                f"The training plays {self.dynamics}, which damps in ways of its own that are not counted here."
            )
        return " ".join(lines)

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "how": self.how,
            "growth": self.growth,
            "largest": [self.largest.real, self.largest.imag],
            "steepest": self.steepest,
            "lowest": self.lowest,
            "turning": self.turning,
            "angle": self.angle,
            "weights": self.size,
            "gradient": self.gradient,
            "rates": self.rates,
            "played": self.played,
            "dynamics": self.dynamics,
            "values": _listed(self.values),
            "steps": _listed(self.steps),
        }


def spectrum(state: State, data: Data, *, rows: int, most: int = 40, seed: int = 0) -> Spectrum:
    """The rim of the spectrum of the game at this point, on one batch of `rows` that is the same in every product.

    `most` products for each of J and the round: 40 show the rim to three digits (Mescheder, Nowozin and Geiger 2017; Gidel
    et al. 2019; Mescheder, Geiger and Nowozin 2018 say what it means for a game). In float32, whatever training uses. The
    training is as it was afterwards. InputError for a game whose players' gradients cannot be differentiated.
    """
    if state.game.first_order:
        raise InputError(
            f"{type(state.game).__name__}: the Jacobian of its field does not exist (discrete samples), so it has no "
            "spectrum; the findings judge such a game, and the duality gap where it has a critic"
        )
    device = next(state.game.parameters()).device
    together = isinstance(state.dynamics, Simultaneous)
    with imagined(state) as view:
        batch = data.take(state.now.images, rows, device)
        jacobian = Jacobian(view, Engine(device=device, batch=rows), batch)
        onward = Round(jacobian, view, together=together)
        kind = jacobian.weights[0].dtype

        def begin(n: int) -> Any:
            return normal((n,), 1, key=(seed, "spectrum"), device=device)[0].to(kind)

        values = arnoldi(jacobian.times, begin(jacobian.size), most=most)
        # less the identity: the space is the same, and what a round changes is not drowned by what it keeps
        moved = arnoldi(lambda v: onward(v) - v, begin(onward.size), most=most)
    steps = sorted((Ritz(1 + r.value, r.residual) for r in moved), key=lambda r: -abs(r.value))
    rates = {name: player.rate(state.now) for name, player in state.players.items()}
    plain = isinstance(state.dynamics, Alternating | Simultaneous)
    played = "simultaneous" if together else "alternating"
    return Spectrum(
        tuple(values), tuple(steps), jacobian.size, float(jacobian.gradient), rates, played,
        played if plain else name_of(state.dynamics),
    )  # fmt: skip


def _after_a_turn(value: complex) -> float:
    """The share of the radius that is left when this multiplier has gone round once."""
    return float(abs(value) ** (2 * math.pi / abs(cmath.phase(value))))


def _swings(value: complex) -> bool:
    """Does a deviation turn by more than it grows or shrinks?"""
    return value != 0 and abs(cmath.phase(value)) > abs(math.log(abs(value)))


def _times(value: complex, factor: float) -> float:
    """Steps in which what is multiplied by `value` comes to `factor` of its size."""
    return math.log(factor) / math.log(abs(value)) if value else 1.0


def _short(value: complex) -> str:
    return (
        f"{value.real:.3g} {'-' if value.imag < 0 else '+'} {abs(value.imag):.3g}i"
        if value.imag
        else f"{value.real:.3g}"
    )


def _listed(ritz: Sequence[Ritz]) -> list[dict[str, float]]:
    return [{"re": r.value.real, "im": r.value.imag, "residual": r.residual} for r in ritz]
