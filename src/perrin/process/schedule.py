r"""What every schedule is: a map t <-> level and a scale (Kingma et al. 2021; Karras et al. 2022).

A schedule is a named Gaussian process of the literature, `y_t = alpha_t clean + sigma_t noise`. In unit
coordinates, `x = y / scale_t` with `scale_t = sqrt(alpha_t^2 + sigma_t^2)`, all of them are the same process
and differ only in how their own time `t` maps to the level. A subclass gives that map, its inverse and the
scale, or the coefficients (`Coefficients`); all else, the SDE included, follows here and is written once.

`t` rises from clean to noise, over `schedule.times = (clean end, noise end)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from perrin.process import levels
from perrin.process.levels import Level, float64

CLIP = (-10.0, 12.4)
"""Levels outside carry no information worth a network evaluation: SNR 4.5e-5 and 2.4e5."""


class Schedule(ABC):
    """A Gaussian process of the literature, by its map from time to level and its scale.

    All methods take floats or tensors of any shape and return float64 tensors of that shape.
    """

    times: tuple[float, float] = (0.0, 1.0)

    @abstractmethod
    def level(self, t: Level) -> Tensor:
        """log SNR at time t: falling in t, exact at both ends (+inf where the process is clean)."""

    @abstractmethod
    def time(self, level: Level) -> Tensor:
        """The inverse of `level`; beyond the schedule's own range the nearest end of `times`."""

    def scale(self, t: Level) -> Tensor:
        """sqrt(alpha_t^2 + sigma_t^2): own coordinates = scale * unit coordinates. One for VP processes."""
        return torch.ones_like(float64(t))

    def log_alpha(self, t: Level) -> Tensor:
        """log(alpha_t); its derivative is the SDE's drift."""
        return torch.log(self.scale(t)) + levels.log_alpha(self.level(t))

    def variance(self, t: Level) -> Tensor:
        """sigma_t^2, in the schedule's own coordinates."""
        return (self.scale(t) * levels.sigma(self.level(t))) ** 2

    def alpha(self, t: Level) -> Tensor:
        """Scale of the clean state at time t, in the schedule's own coordinates."""
        return torch.exp(self.log_alpha(t))

    def sigma(self, t: Level) -> Tensor:
        """Standard deviation of the noise at time t, in the schedule's own coordinates."""
        return torch.sqrt(self.variance(t))

    @property
    def level_range(self) -> tuple[float, float]:
        """The finite levels (noisy, clean) over which to train, to integrate and to lay grids."""
        clean, noisy = (float(self.level(t)) for t in self.times)
        return max(noisy, CLIP[0]), min(clean, CLIP[1])

    def d_level(self, t: Level) -> Tensor:
        """d level / dt (negative; -inf where the level is infinite)."""
        return torch.where(torch.isinf(self.level(t)), -torch.inf, _derivative(self.level, t))

    def d_log_scale(self, t: Level) -> Tensor:
        """d log scale / dt."""
        return _derivative(lambda u: torch.log(self.scale(u)), t)

    def drift(self, t: Level) -> Tensor:
        """f(t) of the forward SDE dy = f(t) y dt + g(t) dw, that is d log alpha_t / dt."""
        return _derivative(self.log_alpha, t)

    def diffusion(self, t: Level) -> Tensor:
        """g(t) >= 0 of the forward SDE: g^2 = d sigma_t^2 / dt - 2 f sigma_t^2."""
        return torch.sqrt(_derivative(self.variance, t) - 2 * self.drift(t) * self.variance(t))

    def config(self) -> dict[str, object]:
        """The JSON-able options that rebuild this schedule, with its registry name."""
        return {"name": type(self).__name__.lower(), **vars(self)}


class Coefficients(Schedule):
    """A schedule by its coefficients: a subclass gives `log_alpha`, `variance` and `time`.

    Both are smooth at the clean end, where the level is infinite, so that drift and diffusion are exact there too.
    """

    @abstractmethod
    def log_alpha(self, t: Level) -> Tensor:
        """log(alpha_t)."""

    @abstractmethod
    def variance(self, t: Level) -> Tensor:
        """sigma_t^2."""

    def level(self, t: Level) -> Tensor:
        """log(alpha_t^2 / sigma_t^2)."""
        return 2 * self.log_alpha(t) - torch.log(self.variance(t))

    def scale(self, t: Level) -> Tensor:
        """sqrt(alpha_t^2 + sigma_t^2)."""
        return torch.sqrt(torch.exp(2 * self.log_alpha(t)) + self.variance(t))


def _derivative(function: Callable[[Tensor], Tensor], t: Level) -> Tensor:
    """Elementwise derivative by automatic differentiation: no second formula to err in."""
    with torch.enable_grad():
        u = float64(t).detach().clone().requires_grad_(True)
        value = function(u)
        if not value.requires_grad:  # a constant
            return torch.zeros_like(u).detach()
        (slope,) = torch.autograd.grad(value.sum(), u)
    return slope
