r"""The cosine schedule (Nichol and Dhariwal 2021, equation 17), in continuous time.

alpha_t = cos(a) / cos(b),   a = (t + offset) / (1 + offset) * pi/2,   b = offset / (1 + offset) * pi/2

sigma_t^2 = 1 - cos^2(a) / cos^2(b) = sin(a - b) sin(a + b) / cos^2(b)      (no cancellation)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process import levels
from perrin.process.levels import Level, float64
from perrin.process.schedule import Coefficients


class Cosine(Coefficients):
    """alpha_t follows a cosine, exactly zero at t = 1; variance preserving."""

    def __init__(self, offset: float = 0.008) -> None:
        if offset < 0:
            raise PerrinError(f"offset = {offset} must be >= 0")
        self.offset = offset

    @property
    def _quarter(self) -> float:
        return 0.5 * math.pi / (1 + self.offset)

    @property
    def _shift(self) -> float:
        return self._quarter * self.offset

    def log_alpha(self, t: Level) -> Tensor:
        # cos(a) = sin(q (1 - t)), exact at t = 1
        return torch.log(torch.sin(self._quarter * (1 - float64(t)))) - math.log(math.cos(self._shift))

    def variance(self, t: Level) -> Tensor:
        angle = self._quarter * float64(t)
        return torch.sin(angle) * torch.sin(angle + 2 * self._shift) / math.cos(self._shift) ** 2

    def scale(self, t: Level) -> Tensor:
        return torch.ones_like(float64(t))

    def time(self, level: Level) -> Tensor:
        b = self._shift
        alpha, sigma = levels.alpha(level), levels.sigma(level)
        sine = torch.sqrt(sigma**2 + (alpha * math.sin(b)) ** 2)
        a = torch.atan2(sine, alpha * math.cos(b))
        # a - b by subtraction loses the clean end: take it from sin(a - b) sin(a + b) = sigma^2 cos^2(b)
        small = torch.asin((sigma**2 * math.cos(b) ** 2 / torch.sin(a + b).clamp(min=1e-300)).clamp(max=1.0))
        return torch.where(a < 0.7, small, a - b).div(self._quarter).clamp(0.0, 1.0)


def cosine(offset: float = 0.008) -> Cosine:
    """The cosine schedule; `offset` keeps the first steps from being too small."""
    return Cosine(offset)
