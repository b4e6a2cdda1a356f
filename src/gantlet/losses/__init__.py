"""Losses and penalties: pure functions of logits and evidence. Importing this registers them."""

from gantlet.losses import adversarial, penalties

__all__ = ["adversarial", "penalties"]
