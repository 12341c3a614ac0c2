"""Objectives: what to minimise, in anyone's training loop."""

from perrin.learn.denoising import Denoising, Losses, objective
from perrin.learn.spacing import spaced
from perrin.learn.tuning import tune

__all__ = ["Denoising", "Losses", "objective", "spaced", "tune"]
