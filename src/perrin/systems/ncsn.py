r"""Noise-conditional score networks (Song and Ermon 2019 and 2020): one score for many geometric noise scales.

    data      y_i = clean + sigma_i noise,  i = 1..L        the process `ve`, at L levels (`ladder`)
    network   score(y, sigma) = -F / sigma                  parameterisation `noise`
    loss      sigma^2 |score + noise/sigma|^2               law `uniform_scale`, weight `simple`
    sampling  Langevin steps at each scale, then the mean   rule `annealed_langevin` (`make_sampler`)

F is given the state in unit coordinates, y / sqrt(1 + sigma^2): of unit variance at every scale, where y itself at
the largest one would be tens of standard deviations of the data.

Scales come from the data (`noise_scales`), the step size e from the scales (`best_step_size`): where all data are one
point, noise from a scale g times larger has, after T steps,

    variance / sigma^2 = v + (1 - e/2)^(2T) (g^2 - v),   v = 1/(1 - e/4)      (2020, proposition 3)

which must be near 1, and is above 1 for every e.
"""

from __future__ import annotations

import math

from perrin.learn.denoising import Denoising
from perrin.learn.laws import uniform_scale
from perrin.learn.scales import Scales, noise_scales
from perrin.learn.weighting import simple
from perrin.likelihood.curl import asymmetry
from perrin.process import ve
from perrin.process.schedulebook.exploding import VE
from perrin.sample import Plan, make_plan

__all__ = [
    "Scales",
    "asymmetry",
    "best_step_size",
    "ladder",
    "make_objective",
    "make_sampler",
    "noise_scales",
    "schedule_of",
    "variance_left",
]


def schedule_of(scales: Scales) -> VE:
    """The variance-exploding schedule between the smallest and the largest scale."""
    return ve(scales.sigma_min, scales.sigma_max)


def ladder(scales: Scales) -> list[float]:
    """The levels of the scales, from the noisiest: grid `time` and, inside the clip, `logsnr` of the schedule."""
    high, low = -2 * math.log(scales.sigma_min), -2 * math.log(scales.sigma_max)
    return [low + (high - low) * i / (scales.count - 1) for i in range(scales.count)]


def make_objective(scales: Scales, drop: float = 0.0) -> Denoising:
    """Denoising score matching, each scale weighted by its variance: the noise loss, at the scales."""
    return Denoising(uniform_scale(*scales), simple(), drop=drop)


def make_sampler(scales: Scales, corrections: int = 5, step_size: float | None = None) -> Plan:
    """Annealed Langevin dynamics over the scales with the final denoising step.

    Args:
        corrections: Langevin steps at each scale; step_size: in units of sigma^2, `best_step_size` by default.
    """
    size = best_step_size(scales, corrections) if step_size is None else step_size
    grid = [*ladder(scales), math.inf]
    return make_plan("annealed_langevin", grid=grid, corrections=corrections, step_size=size)


def variance_left(ratio: float, corrections: int, step_size: float) -> float:
    """The variance over sigma^2 after a level's steps: all data one point, noise from a scale `ratio` times larger."""
    stationary = 1 / (1 - step_size / 4)
    kept = (1 - step_size / 2) ** (2 * corrections)
    return stationary + kept * (ratio**2 - stationary)


def best_step_size(scales: Scales, corrections: int) -> float:
    """The step size in (0, 2) whose `variance_left` is nearest to 1 (2020, technique 4), by search to 1e-3."""
    ratio = (scales.sigma_max / scales.sigma_min) ** (1 / (scales.count - 1))
    return min((i / 1000 for i in range(1, 2000)), key=lambda e: variance_left(ratio, corrections, e))
