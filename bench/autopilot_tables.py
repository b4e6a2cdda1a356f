"""What the runs of the autopilot's benchmark come to: pairs of arms, with intervals, and how it is shown."""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from common import machine_text

Run = dict[str, Any]
Key = tuple[str, int]  # configuration, seed

DRAWS = 4_000  # bootstrap samples of configurations
MEANINGS = {
    "off": "as drawn", "on": "autopilot", "static": "relativistic + R1 + R2", "placebo": "as many turns by chance",
}  # fmt: skip


def by_arm(runs: Sequence[Run]) -> dict[str, dict[Key, Run]]:
    found: dict[str, dict[Key, Run]] = {}
    for run in runs:
        found.setdefault(run["arm"], {})[run["config"]["name"], run["seed"]] = run
    return found


def numbers(runs: Sequence[Run]) -> dict[str, Any]:
    """Shares of healthy runs, differences of arms, harm, and what the autopilot did."""
    arms = by_arm(runs)
    found: dict[str, Any] = {"arms": {arm: _arm(list(arms[arm].values())) for arm in MEANINGS if arm in arms}}
    if "on" not in arms:
        return found
    found["pairs"] = {arm: compared(arms["on"], arms[arm]) for arm in MEANINGS if arm in arms and arm != "on"}
    if "off" in arms:
        found["harm"] = harm(arms["on"], arms["off"])
    found["actions"] = _actions(list(arms["on"].values()))
    return found


def _arm(runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "runs": len(runs),
        "healthy": statistics.fmean(r["healthy"] for r in runs),
        "area": statistics.fmean(_area(r) for r in runs),
        "not_finite": sum(r["stopped"] is not None for r in runs),
        "actions": statistics.fmean(len(r["actions"]) for r in runs),
        "seconds": statistics.fmean(r["seconds"] for r in runs),
    }


def _area(run: Run) -> float:
    """The share of looks over the budget that found it healthy; those that never came did not."""
    looks = max(len(run["curve"]), 8)
    return sum(look["healthy"] for look in run["curve"]) / looks


def compared(mine: dict[Key, Run], other: dict[Key, Run]) -> dict[str, Any]:
    """More healthy runs than another arm has: the difference, its interval over configurations, McNemar's test."""
    keys = sorted(mine.keys() & other.keys())
    pairs = {key: (bool(mine[key]["healthy"]), bool(other[key]["healthy"])) for key in keys}
    gained = sum(a and not b for a, b in pairs.values())
    lost = sum(b and not a for a, b in pairs.values())
    groups: dict[str, list[float]] = {}
    for (name, _), (a, b) in pairs.items():
        groups.setdefault(name, []).append(float(a) - float(b))
    low, high = interval(list(groups.values()))
    return {
        "pairs": len(keys), "gained": gained, "lost": lost,
        "difference": (gained - lost) / max(1, len(keys)), "low": low, "high": high, "p": mcnemar(gained, lost),
    }  # fmt: skip


def interval(groups: Sequence[Sequence[float]]) -> tuple[float, float]:
    """95 % of a mean over rows that come in groups: a bootstrap of the groups (Efron and Tibshirani 1993)."""
    if not groups:
        return math.nan, math.nan
    draw = random.Random(0)
    means = []
    for _ in range(DRAWS):
        rows = [value for group in draw.choices(groups, k=len(groups)) for value in group]
        means.append(statistics.fmean(rows))
    means.sort()
    return means[int(0.025 * DRAWS)], means[int(0.975 * DRAWS) - 1]


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided p of the exact test: pairs that differ go either way with equal chance (McNemar 1947)."""
    n, k = gained + lost, min(gained, lost)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n)


def wilson(count: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    if not n:
        return 0.0, 1.0
    z, p = 1.959964, count / n
    middle, off = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - off) / (1 + z * z / n)), min(1.0, (middle + off) / (1 + z * z / n))


def harm(on: dict[Key, Run], off: dict[Key, Run]) -> dict[str, Any]:
    """What became of runs that are healthy when they are left alone."""
    fine = [key for key in sorted(on.keys() & off.keys()) if off[key]["healthy"]]
    spoilt = [key for key in fine if not on[key]["healthy"]]
    low, high = wilson(len(spoilt), len(fine))
    turned = [key for key in fine if on[key]["actions"]]
    return {
        "healthy": len(fine), "acted_on": len(turned), "spoilt": len(spoilt), "low": low, "high": high,
        "which": [f"{name} seed {seed}" for name, seed in spoilt],
    }  # fmt: skip


def _actions(runs: Sequence[Run]) -> dict[str, Any]:
    done = [action for run in runs for action in run["actions"]]
    back = [a for a in done if a["knob"] == "weights"]
    return {
        "runs": sum(bool(run["actions"]) for run in runs),
        "turned": len(done) - len(back),
        "undone": sum(a["undone"] for a in done),
        "rollbacks": len(back),
        "gave_up": sum(run["stopped"] is not None for run in runs),
        "reasons": dict(Counter(a["reason"].partition(":")[0] for a in done if not a["undone"]).most_common()),
    }


# ---- how it is shown ----------------------------------------------------------------------------------------------


def text(table: dict[str, Any]) -> str:
    """The record as the page's markdown."""
    found = table["numbers"]
    lines = [f"Machine: {machine_text(table['machine'])}. {table['budget']:,} gradients a run.", ""]
    heads = ("arm", "", "runs", "healthy", "over the budget", "not to the end", "actions", "seconds")
    lines += [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for arm, row in found["arms"].items():
        lines.append(
            f"| {arm} | {MEANINGS[arm]} | {row['runs']} | {row['healthy']:.1%} | {row['area']:.1%} | {row['not_finite']} "
            f"| {row['actions']:.1f} | {row['seconds']:.1f} |"
        )
    if not found.get("pairs"):
        return "\n".join(lines)
    lines += ["", "| on against | pairs | gained | lost | difference (95 %) | McNemar p |", "|---" * 6 + "|"]
    for arm, row in found["pairs"].items():
        lines.append(
            f"| {arm} | {row['pairs']} | {row['gained']} | {row['lost']} | {100 * row['difference']:+.1f} points "
            f"({100 * row['low']:+.1f} to {100 * row['high']:+.1f}) | {row['p']:.2g} |"
        )
    return "\n".join([*lines, *_said(found)])


def _said(found: dict[str, Any]) -> list[str]:
    done, lines = found["actions"], []
    if "harm" in found:
        row = found["harm"]
        share = row["spoilt"] / max(1, row["healthy"])
        lines += [
            "",
            f"Of {row['healthy']} runs that are healthy when left alone the autopilot acted on {row['acted_on']} and spoilt "
            f"{row['spoilt']}: {share:.1%} ({row['low']:.1%} to {row['high']:.1%}).",
        ]
    wrong = done["undone"] / max(1, done["turned"])
    lines += [
        "",
        f"It acted in {done['runs']} runs: {done['turned']} turns, of which {done['undone']} ({wrong:.0%}) took another "
        f"back, {done['rollbacks']} rollbacks, {done['gave_up']} honest stops. For: "
        + (", ".join(f"{name} {count}" for name, count in done["reasons"].items()) or "nothing") + ".",
    ]  # fmt: skip
    return lines
