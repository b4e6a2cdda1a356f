"""The autopilot: turns a training's knobs by what the doctor finds, one at a time, and takes back what made it worse."""

from gantlet.doctor.autopilot.action import Action
from gantlet.doctor.autopilot.knobs import Knob, knobs
from gantlet.doctor.autopilot.pilot import Autopilot

__all__ = ["Action", "Autopilot", "Knob", "knobs"]
