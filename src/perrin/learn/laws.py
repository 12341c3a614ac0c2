r"""Laws of levels: at which noise to train. Each maps u in (0, 1) to a level; u may be stratified.

lognormal      log(sigma/alpha) ~ N(mean, std^2)       (Karras et al. 2022)
uniform_time   t uniform in a schedule's own time      (Ho et al. 2020; Song et al. 2021)
uniform_level  log SNR uniform                         (Kingma et al. 2021)
uniform_step   a step of a chain, each as likely       (Ho et al. 2020, algorithm 1)
uniform_scale  one of L geometric scales, each as likely   (Song and Ermon 2019, section 4.2)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process.product import Clock
from perrin.process.schedule import Schedule
from perrin.process.schedulebook.table import Discrete

Law: TypeAlias = Callable[[Tensor], Tensor]
"""u [B] in (0, 1), float64 -> level [B], float64; rising u means more noise."""


@dataclass(frozen=True)
class Continuous:
    """A law with a density.

    Attributes:
        quantile: u [B] -> level [B].
        density: level [B] -> density [B] of the levels that the law gives; inf on an end where many u meet.
    """

    quantile: Callable[[Tensor], Tensor]
    density: Callable[[Tensor], Tensor]

    def __call__(self, u: Tensor) -> Tensor:
        """The levels of u."""
        return self.quantile(u)


def clocked(law: Law, clock: Clock) -> Law:
    """The law of a leaf's own levels, where the state's have `law`."""
    density: Callable[[Tensor], Tensor] | None = getattr(law, "density", None)
    if density is None:
        return lambda u: clock(law(u))
    known = density

    def own(level: Tensor) -> Tensor:
        return known((level - clock.shift) / clock.slope) / clock.slope

    return Continuous(lambda u: clock(law(u)), own)


def lognormal(mean: float = -1.2, std: float = 1.2) -> Law:
    """log(sigma/alpha) normal: effort where the image is decided."""
    if not std > 0:
        raise PerrinError(f"std = {std} of the law of levels must be > 0")
    scale = 2 * std * math.sqrt(2 * math.pi)
    return Continuous(
        lambda u: -2 * (mean + std * torch.special.ndtri(u)),
        lambda level: torch.exp(-0.5 * ((level / 2 + mean) / std) ** 2) / scale,
    )


def uniform_time(schedule: str = "vp", **options: Any) -> Law:
    """Time uniform in the schedule of that name, clipped to its finite levels."""
    from perrin.registry import schedules

    made: Schedule = schedules[schedule](**options)
    clean, noisy = made.times
    low, high = made.level_range

    def density(level: Tensor) -> Tensor:
        inner = 1 / (made.d_level(made.time(level)).abs() * abs(noisy - clean))
        return torch.where((level > low) & (level < high), inner, torch.inf)  # times beyond meet at the ends

    return Continuous(lambda u: made.level(clean + (noisy - clean) * u).clamp(low, high), density)


def uniform_level(low: float = -10.0, high: float = 12.4) -> Law:
    """log SNR uniform between two levels."""
    if not low < high:
        raise PerrinError(f"low = {low} must be below high = {high}")
    return Continuous(
        lambda u: high + (low - high) * u, lambda level: torch.full_like(level, 1 / (high - low))
    )


def uniform_step(schedule: str | dict[str, Any] = "ddpm_linear") -> Law:
    """The levels of a chain's own steps, uniformly.

    Args:
        schedule: the chain, by its name or as `{name: ..., **options}`.
    """
    from perrin.registry import schedules

    chain = schedules.build(schedule)
    if not isinstance(chain, Discrete):
        raise PerrinError(
            f"law 'uniform_step' needs a chain (ddpm_linear, ddpm_cosine, discrete), not {schedule!r}"
        )
    table = chain.levels[torch.isfinite(chain.levels)]  # a loss at zero SNR is zero times infinity

    def law(u: Tensor) -> Tensor:
        step = (u * len(table)).long().clamp(0, len(table) - 1)
        return table.to(u.device)[step]

    return law


def uniform_scale(sigma_min: float = 0.01, sigma_max: float = 50.0, count: int = 232) -> Law:
    """One of `count` geometric noise scales sigma/alpha, uniformly; see `perrin.learn.scales`."""
    if not 0 < sigma_min < sigma_max or count < 2:
        raise PerrinError(
            f"sigma_min = {sigma_min}, sigma_max = {sigma_max} must satisfy 0 < min < max, and count = {count} >= 2"
        )
    high, low = -2 * math.log(sigma_min), -2 * math.log(sigma_max)

    def law(u: Tensor) -> Tensor:
        scale = (u * count).floor().clamp(0, count - 1)
        return high + (low - high) * scale / (count - 1)

    return law
