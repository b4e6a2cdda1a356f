"""What people go by without a doctor, as rules on the same vitals: each answers what it sees first and at which step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gantlet.doctor import Window


class Said(NamedTuple):
    """The first thing a rule says; `label` in the doctor's words, "" where the rule has none."""

    label: str
    step: int


Rule = Callable[[Sequence[Window], int], str]  # (windows, which is now) -> label, or "" for nothing
PLAYERS = ("D", "G")
SOMETHING = "something"


def folklore(windows: Sequence[Window], now: int) -> str:
    """ "D loss goes to 0 is failure; gradient norms over 100 are trouble" (Chintala et al. 2016, "ganhacks", 10)."""
    at = windows[now].values
    if at.get("D.term.D", math.nan) < 0.01:
        return "overpowered"
    return "exploding" if any(at.get(f"{p}.gradient", 0.0) > 100 for p in PLAYERS) else ""


def losses(windows: Sequence[Window], now: int) -> str:
    """A loss beyond ten times its first window's or a hundredth of it, or none at all."""
    at, start = windows[now].values, windows[0].values
    for p in PLAYERS:
        then, is_now = abs(start.get(f"{p}.term.{p}", math.nan)), abs(at.get(f"{p}.term.{p}", math.nan))
        if _not_finite(at):
            return "nonfinite"
        if is_now > 10 * then or is_now < 0.01 * then:
            return SOMETHING
    return ""


def autotrainer(windows: Sequence[Window], now: int) -> str:
    """AutoTrainer's five problems (Zhang et al. 2021, section III): exploding and vanishing gradients, dying rectifiers,
    losses that swing, losses that do not fall. Accuracy, which a game has none of, is left out."""
    at = windows[now].values
    if _not_finite(at) or any(abs(at.get(f"{p}.term.{p}", 0.0)) > 1e3 for p in PLAYERS):
        return "exploding"
    for p in PLAYERS:
        ratio, norm = at.get(f"{p}.first_last", math.nan), at.get(f"{p}.gradient", math.nan)
        if ratio > 70:
            return "exploding"
        if ratio < 1e-3 and norm < 1e-4:
            return "vanishing"
        if at.get(f"{p}.still", 0.0) >= 0.7:
            return "dead-units"
    if now >= 2 and all(_swings(windows, k) for k in (now - 2, now - 1, now)):
        return "limit-cycle"
    return "not-updating" if now >= 3 and _rests(windows[now - 3 : now + 1]) else ""


def _not_finite(at: dict[str, float]) -> bool:
    return any(k.startswith("alarm.") or (".term." in k and math.isnan(v)) for k, v in at.items())


def _swings(windows: Sequence[Window], k: int, most: float = 0.5) -> bool:
    """Does a loss move about by more than half of its mean within a window?"""
    at = windows[k].values
    return any(at.get(f"{p}.term.{p}.std", 0.0) > most * abs(at.get(f"{p}.term.{p}", math.inf)) for p in PLAYERS)


def _rests(windows: Sequence[Window], least: float = 1e-3) -> bool:
    """Has a loss been the same for four windows?"""
    for p in PLAYERS:
        seen = [w.values.get(f"{p}.term.{p}", math.nan) for w in windows]
        if max(seen) - min(seen) < least * abs(seen[0]):
            return True
    return False


RULES: dict[str, Rule] = {"folklore": folklore, "loss thresholds": losses, "AutoTrainer's rules": autotrainer}


def said(rule: Rule, windows: Sequence[Window]) -> Said | None:
    """What a rule says of a training, and when it says so first."""
    for now, window in enumerate(windows):
        if label := rule(windows, now):
            return Said(label, window.last)
    return None
