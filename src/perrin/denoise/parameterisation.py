r"""What a network outputs, and how that becomes the posterior mean.

With x = alpha clean + sigma noise in unit coordinates and F the raw output:

    clean          D = F
    noise          D = (x - sigma F) / alpha                              (Ho et al. 2020)
    v              D = alpha x - sigma F,  F = alpha noise - sigma clean   (Salimans and Ho 2022)
    flow_velocity  D = y - t F,  F = noise - clean,  y = x (1-t) / alpha  (Lipman et al. 2022)
    score          D = (x + sigma^2 s F) / alpha,  F = grad log p(y),  y = s x    (Song et al. 2021)
    edm            D = c_skip x + c_out F(c_in x)                         (Karras et al. 2022, table 1)
                   c_skip = sd^2 alpha / n,  c_out = sigma sd / sqrt(n),  c_in = 1 / sqrt(n),
                   n = sigma^2 + sd^2 alpha^2, in unit coordinates

s is the scale of the schedule that the network was trained with, 1 without one.

All are linear in F: D = skip x + out F. `out` also converts losses: |D - clean| = out |F - target|.
With a learned variance (`learned_variance`) F is the first half of the output's leading axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from perrin.denoise.learned_variance import Variance
from perrin.errors import PerrinError
from perrin.process import levels
from perrin.process.schedule import Schedule

Coefficients: TypeAlias = tuple[Tensor, Tensor]
OfLevel: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Parameterisation:
    """How a network's output becomes the posterior mean D = skip x + out F.

    Attributes:
        name: its registry name.
        coefficients: level [B] -> (skip, out), float64.
        scale: level [B] -> what multiplies the unit-coordinate state on its way into the network.
        time: level [B] -> the number that the network is told.
        needs_signal: whether D is 0/0 where alpha = 0 (zero SNR).
        variance: what makes the posterior variance of a second half of the output; None: no second half.
    """

    name: str
    coefficients: Callable[[Tensor], Coefficients]
    scale: OfLevel
    time: OfLevel
    needs_signal: bool = False
    variance: Variance | None = None

    def check(self, level: Tensor) -> None:
        """Refuse a level at which the clean state cannot be had from this output.

        Raises:
            PerrinError: a noise or score network asked at zero signal (level -inf).
        """
        if self.needs_signal and bool(torch.isneginf(level).any()):
            raise PerrinError(
                f"a network that predicts {self.name!r} says nothing about the clean state at zero SNR "
                "(level -inf); start at a finite level (grid 'logsnr' or 'karras'), or use a clean, v or "
                "flow_velocity network"
            )


def _own(schedule: Schedule | None) -> tuple[OfLevel, OfLevel]:
    """(scale, time) of a schedule's own coordinates; unit coordinates and -level/8 without one."""
    if schedule is None:
        return torch.ones_like, noise_time
    return lambda level: schedule.scale(schedule.time(level)), schedule.time


def noise_time(level: Tensor) -> Tensor:
    """log(sigma/alpha) / 4 = -level / 8 (c_noise of EDM), kept finite where the level is not."""
    return (-level / 8).clamp(-4.0, 4.0)


def clean(schedule: Schedule | None = None) -> Parameterisation:
    """The network outputs the clean state."""
    return Parameterisation(
        "clean", lambda level: (torch.zeros_like(level), torch.ones_like(level)), *_own(schedule)
    )


def noise(schedule: Schedule | None = None) -> Parameterisation:
    """The network outputs the noise; undefined at zero SNR."""
    return Parameterisation(
        "noise",
        lambda level: (1 / levels.alpha(level), -levels.ratio(level)),
        *_own(schedule),
        needs_signal=True,
    )


def v(schedule: Schedule | None = None) -> Parameterisation:
    """The network outputs v = alpha noise - sigma clean, in unit coordinates."""
    return Parameterisation("v", lambda level: (levels.alpha(level), -levels.sigma(level)), *_own(schedule))


def flow_velocity(schedule: Schedule | None = None) -> Parameterisation:
    """The network outputs noise - clean, the velocity of the straight path y = (1-t) clean + t noise."""

    def coefficients(level: Tensor) -> Coefficients:
        t = torch.sigmoid(-0.5 * level)  # (1-t)/t = alpha/sigma
        return 1 / (levels.alpha(level) + levels.sigma(level)), -t

    return Parameterisation("flow_velocity", coefficients, *_own(schedule))


def score(schedule: Schedule | None = None) -> Parameterisation:
    """The network outputs grad log p in the schedule's own coordinates; undefined at zero SNR."""
    scale, time = _own(schedule)

    def coefficients(level: Tensor) -> Coefficients:
        alpha = levels.alpha(level)
        return 1 / alpha, levels.sigma(level) ** 2 * scale(level) / alpha

    return Parameterisation("score", coefficients, scale, time, needs_signal=True)


def edm(schedule: Schedule | None = None, sigma_data: float = 0.5) -> Parameterisation:
    """EDM's preconditioning: input, output and loss of unit variance at every level.

    Args:
        schedule: not used; the input scale and the time are the preconditioning's own.
        sigma_data: standard deviation of the clean states.
    """
    if not sigma_data > 0:
        raise PerrinError(f"sigma_data = {sigma_data} must be > 0")

    def norm(level: Tensor) -> Tensor:
        return levels.sigma(level) ** 2 + sigma_data**2 * levels.alpha(level) ** 2

    def coefficients(level: Tensor) -> Coefficients:
        n = norm(level)
        return sigma_data**2 * levels.alpha(level) / n, levels.sigma(level) * sigma_data / torch.sqrt(n)

    return Parameterisation("edm", coefficients, lambda level: norm(level) ** -0.5, noise_time)


def make(name: str, schedule: Schedule | None, options: dict[str, Any]) -> Parameterisation:
    """The parameterisation of that registry name; the option `variance` is any one's."""
    from perrin.registry import parameterisations

    rest = {key: value for key, value in options.items() if key != "variance"}
    made: Parameterisation = parameterisations[name](schedule, **rest)
    return replace(made, variance=options.get("variance"))
