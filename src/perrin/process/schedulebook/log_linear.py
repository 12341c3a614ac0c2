r"""The log-linear schedule of masked diffusion (Sahoo et al. 2024): alpha_t^2 = 1 - t, sigma_t^2 = t.

A share t of the tokens is masked at time t; -log alpha^2 = -log(1 - t) gave it its name.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.process.levels import Level, float64
from perrin.process.schedule import Coefficients


class LogLinear(Coefficients):
    """alpha^2 falls in a straight line."""

    def log_alpha(self, t: Level) -> Tensor:
        return 0.5 * torch.log1p(-float64(t))

    def variance(self, t: Level) -> Tensor:
        return float64(t)

    def level(self, t: Level) -> Tensor:
        t = float64(t)
        return torch.log1p(-t) - torch.log(t)

    def time(self, level: Level) -> Tensor:
        return torch.sigmoid(-float64(level))

    def config(self) -> dict[str, object]:
        return {"name": "log_linear"}


def log_linear() -> LogLinear:
    """The log-linear schedule: at time t a share t of the signal's power, or of the tokens, is lost."""
    return LogLinear()
