r"""What every schedule is: a map t <-> level and a scale (Kingma et al. 2021; Karras et al. 2022).

A schedule is a named Gaussian process of the literature, `y_t = alpha_t clean + sigma_t noise`. In unit
coordinates, `x = y / scale_t` with `scale_t = sqrt(alpha_t^2 + sigma_t^2)`, all of them are the same process
and differ only in how their own time `t` maps to the level. A subclass gives that map, its inverse and the
scale; coefficients, derivatives and the SDE follow here and are written once.

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

    def alpha(self, t: Level) -> Tensor:
        """Scale of the clean state at time t, in the schedule's own coordinates."""
        return self.scale(t) * levels.alpha(self.level(t))

    def sigma(self, t: Level) -> Tensor:
        """Standard deviation of the noise at time t, in the schedule's own coordinates."""
        return self.scale(t) * levels.sigma(self.level(t))

    @property
    def level_range(self) -> tuple[float, float]:
        """The finite levels (noisy, clean) over which to train, to integrate and to lay grids."""
        clean, noisy = (float(self.level(t)) for t in self.times)
        return max(noisy, CLIP[0]), min(clean, CLIP[1])

    def d_level(self, t: Level) -> Tensor:
        """d level / dt (negative)."""
        return _derivative(self.level, t)

    def d_log_scale(self, t: Level) -> Tensor:
        """d log scale / dt."""
        return _derivative(lambda u: torch.log(self.scale(u)), t)

    def drift(self, t: Level) -> Tensor:
        """f(t) of the forward SDE dy = f(t) y dt + g(t) dw, that is d log alpha_t / dt."""
        # log alpha_t = log scale + logsigmoid(level) / 2, whose derivative needs sigma^2 = sigmoid(-level)
        return self.d_log_scale(t) + 0.5 * levels.sigma(self.level(t)) ** 2 * self.d_level(t)

    def diffusion(self, t: Level) -> Tensor:
        """g(t) >= 0 of the forward SDE: g^2 = d sigma_t^2/dt - 2 f sigma_t^2 = -sigma_t^2 d level/dt."""
        return self.sigma(t) * torch.sqrt(-self.d_level(t))

    def config(self) -> dict[str, object]:
        """The JSON-able options that rebuild this schedule, with its registry name."""
        return {"name": type(self).__name__.lower(), **vars(self)}


def _derivative(function: Callable[[Tensor], Tensor], t: Level) -> Tensor:
    """Elementwise derivative by automatic differentiation: one formula per schedule, no second one to err in."""
    with torch.enable_grad():
        u = float64(t).detach().clone().requires_grad_(True)
        value = function(u)
        if not value.requires_grad:  # a constant
            return torch.zeros_like(u).detach()
        (slope,) = torch.autograd.grad(value.sum(), u)
    return slope
