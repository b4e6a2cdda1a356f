"""What can be wrong with a training: importing a module here registers its detectors."""

from gantlet.doctor.findings import data as data
from gantlet.doctor.findings import generalisation as generalisation
from gantlet.doctor.findings import non_finite as non_finite
from gantlet.doctor.findings import outcome as outcome
from gantlet.doctor.findings import play as play
from gantlet.doctor.findings import sign as sign
from gantlet.doctor.findings import steps as steps
from gantlet.doctor.findings import structure as structure
from gantlet.doctor.findings import wiring as wiring
