"""Dynamics beyond the plain ones of core: those that remember, that differentiate twice, that look ahead."""

from gantlet.core.registry import dynamics
from gantlet.dynamics import lookahead, past, second_order, unrolled

__all__ = ["lookahead", "past", "second_order", "unrolled"]

dynamics.also |= {
    "sga": "symplectic", "omd": "optimistic", "simgd": "simultaneous", "altgd": "alternating",
    "extra-adam": "extragradient", "extraadam": "extragradient",
}  # fmt: skip
