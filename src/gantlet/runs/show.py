"""Where a session is seen."""

from __future__ import annotations

import logging
from typing import Any, Protocol


class Show(Protocol):
    """Where a session is seen: a terminal, a notebook, nowhere."""

    def say(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...  # what the doctor found and what the autopilot did

    def row(self, row: dict[str, Any], steps: int) -> None: ...


class Quiet:
    """Shows only what is wrong and what was done about it, by the logger `gantlet`: on stderr, until a program says
    otherwise."""

    def say(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        logging.getLogger("gantlet").warning(text)

    def row(self, row: dict[str, Any], steps: int) -> None:
        pass
