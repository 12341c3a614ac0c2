"""Restoration: what a clean state is, given a noisy one and a measurement of the clean one."""

from perrin.guide.restoring.measured import Measured
from perrin.guide.restoring.methods import MMPS, PiGDM, Proximal
from perrin.guide.restoring.planning import descent
from perrin.guide.restoring.pooling import Pooled

__all__ = ["MMPS", "Measured", "PiGDM", "Pooled", "Proximal", "descent"]
