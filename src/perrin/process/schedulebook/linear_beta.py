r"""VP and sub-VP with a linear beta (Ho et al. 2020; Song et al. 2021, equations 32 to 34, appendix C).

beta(t) = beta_min + t (beta_max - beta_min),   B(t) = beta_min t + (beta_max - beta_min) t^2 / 2
vp:     alpha_t = exp(-B/2),   sigma_t^2 = 1 - exp(-B)
sub_vp: alpha_t = exp(-B/2),   sigma_t   = 1 - exp(-B)
"""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process.levels import Level, float64, minus_log_alpha_squared
from perrin.process.schedule import Coefficients


class LinearBeta(Coefficients):
    """alpha_t = exp(-B/2) with a linear beta."""

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0) -> None:
        if not 0 <= beta_min <= beta_max or beta_max == 0:
            raise PerrinError(
                f"beta_min = {beta_min} and beta_max = {beta_max} must satisfy "
                "0 <= beta_min <= beta_max and beta_max > 0"
            )
        self.beta_min, self.beta_max = beta_min, beta_max

    def integral(self, t: Level) -> Tensor:
        """B(t)."""
        t = float64(t)
        return self.beta_min * t + 0.5 * (self.beta_max - self.beta_min) * t**2

    def time_of_integral(self, b: Tensor) -> Tensor:
        """The time at which B(t) = b, the nearest end of `times` beyond them."""
        # the root of the quadratic in the form that does not cancel at small b
        t = 2 * b / (self.beta_min + torch.sqrt(self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * b))
        t = torch.where(b == 0, 0.0, t)  # 0/0 with beta_min = 0
        return torch.nan_to_num(t, nan=self.times[1]).clamp(*self.times)  # b = inf gives inf/inf

    def log_alpha(self, t: Level) -> Tensor:
        return -0.5 * self.integral(t)


class VP(LinearBeta):
    """Variance preserving: alpha_t^2 + sigma_t^2 = 1."""

    def variance(self, t: Level) -> Tensor:
        return -torch.expm1(-self.integral(t))

    def scale(self, t: Level) -> Tensor:
        return torch.ones_like(float64(t))

    def time(self, level: Level) -> Tensor:
        return self.time_of_integral(minus_log_alpha_squared(level))


class SubVP(LinearBeta):
    """Sub-variance preserving: the variance of the noise is bounded by that of VP."""

    def variance(self, t: Level) -> Tensor:
        return torch.expm1(-self.integral(t)) ** 2

    def time(self, level: Level) -> Tensor:
        # alpha / (1 - alpha^2) = r  =>  alpha = 2 r / (1 + sqrt(1 + 4 r^2)), and 1 - alpha^2 = alpha / r
        inverse = torch.exp(-0.5 * float64(level))  # 1 / r, finite towards the clean end
        alpha = 2 / (inverse + torch.sqrt(inverse**2 + 4))
        near_clean = -torch.log1p(-(alpha * inverse).clamp(max=1.0))
        return self.time_of_integral(torch.where(alpha > 0.5, near_clean, -2 * torch.log(alpha)))

    def config(self) -> dict[str, object]:
        return {**super().config(), "name": "sub_vp"}


def vp(beta_min: float = 0.1, beta_max: float = 20.0) -> VP:
    """The variance-preserving schedule with linear beta."""
    return VP(beta_min, beta_max)


def sub_vp(beta_min: float = 0.1, beta_max: float = 20.0) -> SubVP:
    """The sub-VP schedule with linear beta."""
    return SubVP(beta_min, beta_max)
