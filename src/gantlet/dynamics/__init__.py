"""Dynamics beyond the plain ones of core: those that remember, that differentiate twice, that look ahead."""

from gantlet.dynamics import lookahead, past, second_order, unrolled

__all__ = ["lookahead", "past", "second_order", "unrolled"]
