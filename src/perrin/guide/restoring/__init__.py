"""Restoration: what a clean state is, given a noisy one and a measurement of the clean one."""

from perrin.guide.restoring.measured import Measured
from perrin.guide.restoring.methods import MMPS, PiGDM, Proximal

__all__ = ["MMPS", "Measured", "PiGDM", "Proximal"]
