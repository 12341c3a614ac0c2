r"""Grids: the levels at which a sampler evaluates. n steps have n + 1 levels and the last is +inf (clean).

time    uniform in the schedule's own time, from its noisy end
logsnr  uniform in level over the schedule's `level_range` (Lu et al. 2022)
karras  uniform in (sigma/alpha)^(1/rho), rho = 7, over `level_range` (Karras et al. 2022, equation 5)
cosine  uniform in the angle arctan(sigma/alpha), from the schedule's noisiest level
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from perrin.process.levels import level_of_ratio, ratio
from perrin.process.schedule import Schedule

_CLEAN = torch.tensor([math.inf], dtype=torch.float64)


def _line(start: float, stop: float, count: int) -> Tensor:
    return torch.linspace(start, stop, count, dtype=torch.float64)


def time(schedule: Schedule, steps: int) -> Tensor:
    """Uniform in the schedule's time; may start at -inf. For `discrete` this is the trailing spacing."""
    clean, noisy = schedule.times
    return torch.cat([schedule.level(_line(noisy, clean, steps + 1)[:-1]), _CLEAN])


def logsnr(schedule: Schedule, steps: int) -> Tensor:
    """Uniform in log SNR."""
    low, high = schedule.level_range
    return torch.cat([_line(low, high, steps), _CLEAN])


def karras(schedule: Schedule, steps: int, rho: float = 7.0) -> Tensor:
    """Dense towards the clean end, as EDM lays it."""
    low, high = (float(ratio(v)) ** (1 / rho) for v in schedule.level_range)
    return torch.cat([level_of_ratio(_line(low, high, steps) ** rho), _CLEAN])


def cosine(schedule: Schedule, steps: int) -> Tensor:
    """Uniform in the angle between clean state and noise; may start at -inf."""
    noisiest = float(schedule.level(schedule.times[1]))
    start = math.pi / 2 if noisiest == -math.inf else math.atan(math.exp(-0.5 * noisiest))
    levels = level_of_ratio(torch.tan(_line(start, 0.0, steps + 1)[:-1]))
    levels[0] = noisiest  # tan(pi/2) is a large number, not infinity
    return torch.cat([levels, _CLEAN])
