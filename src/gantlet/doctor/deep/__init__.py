"""A deep look at where a training stands, minutes rather than moments: the game's spectrum and its duality gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Data
from gantlet.core.state import State
from gantlet.doctor.deep.gap import DualityGap, duality_gap
from gantlet.doctor.deep.spectrum import Spectrum, spectrum

__all__ = ["Deep", "DualityGap", "Spectrum", "deep", "duality_gap", "spectrum"]


@dataclass(frozen=True)
class Deep:
    """What a deep look found; None: the game has no such thing, and `why_not` says why."""

    spectrum: Spectrum | None
    gap: DualityGap | None
    why_not: tuple[str, ...] = ()  # faults, a line each

    def __str__(self) -> str:
        return "\n".join([str(part) for part in (self.spectrum, self.gap) if part is not None] + list(self.why_not))

    def to_json(self) -> dict[str, Any]:
        return {
            "spectrum": None if self.spectrum is None else self.spectrum.to_json(),
            "duality_gap": None if self.gap is None else self.gap.to_json(),
            "why_not": list(self.why_not),
        }


def deep(
    state: State, data: Data, held: Batch, *, rows: int, critic: str | None = None, most: int = 40, steps: int = 250
) -> Deep:
    """Both, on a training that is as it was afterwards. `rows`: of a batch, as in training; `held`: rows held out."""
    faults: list[str] = []
    where = gap = None
    try:
        where = spectrum(state, data, rows=rows, most=most)
    except InputError as error:
        faults += error.faults
    try:
        gap = duality_gap(state, data, held, rows=rows, critic=critic, steps=steps)
    except InputError as error:
        faults += error.faults
    return Deep(where, gap, tuple(faults))
