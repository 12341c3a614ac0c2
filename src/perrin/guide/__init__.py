"""Guidance: denoisers that wrap denoisers. They compose, and run under any plan."""

from perrin.guide.autoguidance import Autoguidance
from perrin.guide.classifier import Classifier, ClassifierGuidance
from perrin.guide.classifier_free import ClassifierFree
from perrin.guide.energy import Energy
from perrin.guide.feature_reuse import FeatureReuse
from perrin.guide.projected import Projection
from perrin.guide.remembered import Remembered
from perrin.guide.self_conditioned import SelfConditioned
from perrin.guide.tempering import Tempered
from perrin.guide.thresholding import DynamicThreshold, Threshold
from perrin.guide.tilted import Tilted
from perrin.guide.wrapper import Guide

__all__ = [
    "Autoguidance",
    "Classifier",
    "ClassifierFree",
    "ClassifierGuidance",
    "DynamicThreshold",
    "Energy",
    "FeatureReuse",
    "Guide",
    "Projection",
    "Remembered",
    "SelfConditioned",
    "Tempered",
    "Threshold",
    "Tilted",
]
