r"""VP and sub-VP with a linear beta (Ho et al. 2020; Song et al. 2021, equations 32 to 34, appendix C).

    beta(t) = beta_min + t (beta_max - beta_min),   B(t) = integral of beta = beta_min t + (beta_max - beta_min) t^2 / 2
    vp:     alpha_t = exp(-B/2),   sigma_t^2 = 1 - exp(-B)
    sub_vp: alpha_t = exp(-B/2),   sigma_t   = 1 - exp(-B)
"""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process.levels import Level, float64, level_of_log_alpha_squared, minus_log_alpha_squared
from perrin.process.schedule import Schedule


class VP(Schedule):
    """Variance preserving: alpha_t^2 + sigma_t^2 = 1."""

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0) -> None:
        if not 0 <= beta_min <= beta_max or beta_max == 0:
            raise PerrinError(
                f"beta_min = {beta_min} and beta_max = {beta_max} must satisfy 0 <= beta_min <= beta_max, beta_max > 0"
            )
        self.beta_min, self.beta_max = beta_min, beta_max

    def _integral(self, t: Level) -> Tensor:
        t = float64(t)
        return self.beta_min * t + 0.5 * (self.beta_max - self.beta_min) * t**2

    def _time_of_integral(self, b: Tensor) -> Tensor:
        # the root of the quadratic in the form that does not cancel at small b
        t = 2 * b / (self.beta_min + torch.sqrt(self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * b))
        return torch.nan_to_num(t, nan=self.times[1]).clamp(*self.times)  # b = inf gives inf/inf

    def level(self, t: Level) -> Tensor:
        return level_of_log_alpha_squared(-self._integral(t))

    def time(self, level: Level) -> Tensor:
        return self._time_of_integral(minus_log_alpha_squared(level))


class SubVP(VP):
    """Sub-variance preserving: the variance of the noise is bounded by that of VP."""

    def level(self, t: Level) -> Tensor:
        b = self._integral(t)
        return -b - 2 * torch.log(-torch.expm1(-b))

    def time(self, level: Level) -> Tensor:
        # alpha / (1 - alpha^2) = r  =>  alpha = 2 r / (1 + sqrt(1 + 4 r^2)), and 1 - alpha^2 = alpha / r
        inverse = torch.exp(-0.5 * float64(level))  # 1 / r, finite towards the clean end
        alpha = 2 / (inverse + torch.sqrt(inverse**2 + 4))
        near_clean = -torch.log1p(-(alpha * inverse).clamp(max=1.0))
        return self._time_of_integral(torch.where(alpha > 0.5, near_clean, -2 * torch.log(alpha)))

    def scale(self, t: Level) -> Tensor:
        b = self._integral(t)
        return torch.sqrt(torch.exp(-b) + torch.expm1(-b) ** 2)


def vp(beta_min: float = 0.1, beta_max: float = 20.0) -> VP:
    """The variance-preserving schedule with linear beta."""
    return VP(beta_min, beta_max)


def sub_vp(beta_min: float = 0.1, beta_max: float = 20.0) -> SubVP:
    """The sub-VP schedule with linear beta."""
    return SubVP(beta_min, beta_max)
