r"""Laws of levels: at which noise to train. Each maps u in (0, 1) to a level; u may be stratified.

lognormal      log(sigma/alpha) ~ N(mean, std^2)       (Karras et al. 2022)
uniform_time   t uniform in a schedule's own time      (Ho et al. 2020; Song et al. 2021)
uniform_level  log SNR uniform                         (Kingma et al. 2021)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process.schedule import Schedule

Law: TypeAlias = Callable[[Tensor], Tensor]
"""u [B] in (0, 1), float64 -> level [B], float64; rising u means more noise."""


def lognormal(mean: float = -1.2, std: float = 1.2) -> Law:
    """log(sigma/alpha) normal: effort where the image is decided."""
    if not std > 0:
        raise PerrinError(f"std = {std} of the law of levels must be > 0")
    return lambda u: -2 * (mean + std * torch.special.ndtri(u))


def uniform_time(schedule: str = "vp", **options: Any) -> Law:
    """Time uniform in the schedule of that name, clipped to its finite levels."""
    from perrin.registry import schedules

    made: Schedule = schedules[schedule](**options)
    clean, noisy = made.times
    low, high = made.level_range
    return lambda u: made.level(clean + (noisy - clean) * u).clamp(low, high)


def uniform_level(low: float = -10.0, high: float = 12.4) -> Law:
    """log SNR uniform between two levels."""
    if not low < high:
        raise PerrinError(f"low = {low} must be below high = {high}")
    return lambda u: high + (low - high) * u
