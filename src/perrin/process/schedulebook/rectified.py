r"""Rectified flow (Liu et al. 2022; Lipman et al. 2022): alpha_t = 1 - t, sigma_t = t."""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process.levels import Level, float64
from perrin.process.schedule import Coefficients


class Flow(Coefficients):
    """The straight line from data to noise; `shift` > 1 moves towards noise (Esser et al. 2024, eq. 23)."""

    def __init__(self, shift: float = 1.0) -> None:
        if shift <= 0:
            raise PerrinError(f"shift = {shift} must be > 0")
        self.shift = shift

    def log_alpha(self, t: Level) -> Tensor:
        t = float64(t)
        return torch.log1p(-t) - torch.log1p((self.shift - 1) * t)

    def variance(self, t: Level) -> Tensor:
        t = float64(t)
        return (self.shift * t / (1 + (self.shift - 1) * t)) ** 2

    def level(self, t: Level) -> Tensor:
        t = float64(t)
        # (1 - sigma) / sigma = (1 - t) / (shift t)
        return 2 * (torch.log1p(-t) - torch.log(self.shift * t))

    def time(self, level: Level) -> Tensor:
        return 1 / (1 + self.shift * torch.exp(0.5 * float64(level)))


def flow(shift: float = 1.0) -> Flow:
    """The rectified-flow schedule."""
    return Flow(shift)
