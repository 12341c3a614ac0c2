"""Guidance: denoisers that wrap denoisers. They compose, and run under any plan."""

from perrin.guide.classifier import Classifier, ClassifierGuidance
from perrin.guide.classifier_free import ClassifierFree
from perrin.guide.feature_reuse import FeatureReuse
from perrin.guide.remembered import Remembered
from perrin.guide.self_conditioned import SelfConditioned
from perrin.guide.tempering import Tempered
from perrin.guide.thresholding import DynamicThreshold, Threshold
from perrin.guide.tilted import Tilted
from perrin.guide.wrapper import Guide

__all__ = [
    "Classifier",
    "ClassifierFree",
    "ClassifierGuidance",
    "DynamicThreshold",
    "FeatureReuse",
    "Guide",
    "Remembered",
    "SelfConditioned",
    "Tempered",
    "Threshold",
    "Tilted",
]
