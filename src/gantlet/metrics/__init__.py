"""Metrics: (real, fake) -> scores, read in bounded memory. Importing this registers them and their features."""

from gantlet.metrics import (
    birthday,
    class_score,
    curve,
    diversity,
    encoders,
    inception,
    inception_score,
    infinity,
    kernel,
    memorisation,
    mind,
    modes,
    neighbours,
    pairs,
    path_length,
    per_class,
    pyramid,
    sliced,
    spectrum,
    squeezenet,
    swav,
    vendi,
    yamnet,
)
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
    "birthday",
    "class_score",
    "compare",
    "curve",
    "diversity",
    "encoders",
    "evaluate",
    "fd",
    "features_of",
    "find_weights",
    "frechet",
    "histogram_of",
    "inception",
    "inception_score",
    "infinity",
    "kernel",
    "memorisation",
    "mind",
    "modes",
    "moments_of",
    "neighbours",
    "pairs",
    "path_length",
    "per_class",
    "pyramid",
    "sliced",
    "spectrum",
    "squeezenet",
    "swav",
    "train_classifier",
    "vendi",
    "yamnet",
]
