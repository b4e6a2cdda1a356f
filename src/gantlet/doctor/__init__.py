"""The doctor: says what is wrong with a training, why, and what to do about it."""

from gantlet.doctor import findings
from gantlet.doctor.diagnosis import Diagnosis, Finding
from gantlet.doctor.doctor import Doctor
from gantlet.doctor.finding import About, Measure, Remedy, Seen, Sign, detects
from gantlet.doctor.window import Window

__all__ = [
    "About",
    "Diagnosis",
    "Doctor",
    "Finding",
    "Measure",
    "Remedy",
    "Seen",
    "Sign",
    "Window",
    "detects",
    "findings",
]
