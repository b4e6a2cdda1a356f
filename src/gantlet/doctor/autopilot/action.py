"""What the autopilot did, as it is written down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Action(NamedTuple):
    """One knob turned once. A number is a factor on what the recipe says, a probability, or (`weights`) a step."""

    step: int
    knob: str  # "penalties.r1", "players.D.lr", "tricks.ada.p"; several that turn together are joined by " + "
    before: float
    after: float
    reason: str  # the finding that held, or what went wrong
    undone: bool = False  # does this take back an earlier action, because the verdict became worse?

    def __str__(self) -> str:
        times = "x" if self.knob.startswith(("players.", "penalties.")) else ""  # factors on what the recipe says
        turned = f"{self.knob} {times}{self.before:g} -> {times}{self.after:g}"
        return f"{turned} taken back: {self.reason}" if self.undone else f"{turned} for {self.reason}"

    def to_json(self) -> dict[str, Any]:
        return self._asdict()

    @classmethod
    def of_json(cls, record: Mapping[str, Any]) -> Action:
        return cls(**record)
