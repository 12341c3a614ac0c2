"""Guidance: denoisers that wrap denoisers. They compose, and run under any plan."""

from perrin.guide.classifier_free import ClassifierFree
from perrin.guide.thresholding import DynamicThreshold, Threshold
from perrin.guide.wrapper import Guide

__all__ = ["ClassifierFree", "DynamicThreshold", "Guide", "Threshold"]
