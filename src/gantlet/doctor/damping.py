"""What a damped game has and this one lacks: penalties on the critic's slope, on every step, and no momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gantlet.doctor.finding import Seen
from gantlet.doctor.settings import (
    constrained,
    penalties,
    sides,
    start_of,
    steepness_pays,
    used,
    usual_gamma,
    usual_weight,
)


def damping(seen: Seen) -> list[str]:
    """What is missing of a damped game; [] where nothing is."""
    if not seen.about.ordered or seen.about.get("game.adversarial") is None:
        return []
    change = _missing_penalty(seen) or second_penalty(seen)
    lazy = [k for k, part in (seen.about.get("game.penalties") or {}).items() if _is_slope(part) and part["every"] > 1]
    weak = [label for label, option, weight in penalties(seen) if option == "gamma" and 8 * weight < usual_gamma(seen)]
    change += [f"penalties.{label}.every=1" for label in lazy]
    change += [f"penalties.{label}.gamma={usual_gamma(seen):.3g}" for label in weak]
    names = [n for n in sides(seen) if (seen.about.get(f"players.{n}.beta1") or 0) > 0.5]
    return change + [f"players.{name}.beta1=0" for name in names]


def _is_slope(part: Mapping[str, Any]) -> bool:
    return "gamma" in part and "every" in part


def _missing_penalty(seen: Seen) -> list[str]:
    if constrained(seen):
        return []
    if steepness_pays(seen):
        return [f"penalties.gp.weight={usual_weight(seen):g}"]
    return [f"penalties.{label}.gamma={usual_gamma(seen):.3g}" for label in ("r1", "r2")]


def second_penalty(seen: Seen) -> list[str]:
    """R2 with the weight of the R1 that stands alone."""
    there = {part: label for label, part in used(seen, "penalties").items()}
    if "r1" not in there or "r2" in there or "r2" in used(seen, "penalties"):
        return []
    weight = start_of(seen.about.get(f"game.penalties.{there['r1']}.gamma"))
    return [f"penalties.r2.gamma={weight:.3g}"] if weight else []
