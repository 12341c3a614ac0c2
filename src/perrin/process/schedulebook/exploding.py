r"""Schedules that leave the clean state unscaled and let the noise explode: alpha_t = 1.

ve:  sigma_t = sigma_min (sigma_max / sigma_min)^t,  t in [0, 1]     (Song et al. 2021, equation 30)
edm: sigma_t = t,  t in [0, sigma_max], trained over [sigma_min, sigma_max]    (Karras et al. 2022)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process.levels import Level, float64, level_of_ratio, ratio
from perrin.process.schedule import Coefficients


def _check(sigma_min: float, sigma_max: float) -> None:
    if not 0 < sigma_min < sigma_max:
        raise PerrinError(f"sigma_min = {sigma_min} and sigma_max = {sigma_max} must satisfy 0 < min < max")


class Exploding(Coefficients):
    """alpha_t = 1: the level is that of sigma_t alone."""

    def log_alpha(self, t: Level) -> Tensor:
        return torch.zeros_like(float64(t))


class VE(Exploding):
    """Variance exploding, geometric in time; never quite clean: sigma_min remains at t = 0."""

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0) -> None:
        _check(sigma_min, sigma_max)
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    def level(self, t: Level) -> Tensor:
        return -2 * (math.log(self.sigma_min) + float64(t) * math.log(self.sigma_max / self.sigma_min))

    def variance(self, t: Level) -> Tensor:
        return torch.exp(-self.level(t))

    def time(self, level: Level) -> Tensor:
        t = (-0.5 * float64(level) - math.log(self.sigma_min)) / math.log(self.sigma_max / self.sigma_min)
        return t.clamp(0.0, 1.0)


class EDM(Exploding):
    """Time is the noise itself, t = sigma."""

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0) -> None:
        _check(sigma_min, sigma_max)
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        self.times = (0.0, sigma_max)

    @property
    def level_range(self) -> tuple[float, float]:
        return -2 * math.log(self.sigma_max), -2 * math.log(self.sigma_min)

    def level(self, t: Level) -> Tensor:
        return level_of_ratio(t)

    def variance(self, t: Level) -> Tensor:
        return float64(t) ** 2

    def time(self, level: Level) -> Tensor:
        return ratio(level).clamp(*self.times)

    def config(self) -> dict[str, object]:
        return {"name": "edm", "sigma_min": self.sigma_min, "sigma_max": self.sigma_max}


def ve(sigma_min: float = 0.01, sigma_max: float = 50.0) -> VE:
    """The variance-exploding schedule."""
    return VE(sigma_min, sigma_max)


def edm(sigma_min: float = 0.002, sigma_max: float = 80.0) -> EDM:
    """The schedule of EDM."""
    return EDM(sigma_min, sigma_max)
