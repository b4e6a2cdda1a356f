"""Metrics: (real, fake) -> scores, read in bounded memory. Importing this registers them and their features."""

from gantlet.metrics import curve, modes
from gantlet.metrics.classes import Histogram, histogram_of
from gantlet.metrics.classify import Classifier, LeNet
from gantlet.metrics.evaluation import evaluate
from gantlet.metrics.features import Features, features_of, find_weights
from gantlet.metrics.frechet import fd, frechet
from gantlet.metrics.learn import train_classifier
from gantlet.metrics.mobilenet import MobileNetV2
from gantlet.metrics.moments import Moments, moments_of
from gantlet.metrics.report import EvaluationReport, Score, compare
from gantlet.metrics.sources import Drawn, Kept

__all__ = [
    "Classifier",
    "Drawn",
    "EvaluationReport",
    "Features",
    "Histogram",
    "Kept",
    "LeNet",
    "MobileNetV2",
    "Moments",
    "Score",
    "compare",
    "curve",
    "evaluate",
    "fd",
    "features_of",
    "find_weights",
    "frechet",
    "histogram_of",
    "modes",
    "moments_of",
    "train_classifier",
]
