r"""Power-function averages of the weights, several at once, and any other length rebuilt afterwards (Karras et al. 2024).

    theta_t <- beta_t theta_(t-1) + (1 - beta_t) theta,   beta_t = (1 - 1/t)^(gamma + 1)

The profile's weight on step tau is proportional to tau^gamma; its width relative to training is
std = sqrt((gamma + 1) / ((gamma + 2)^2 (gamma + 3))) (equation 127). At t = 1 the average is the weights.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.training.sharding import whole


def gamma_of(std: float) -> float:
    """The exponent of a profile of relative width `std`, in (0, 0.288)."""
    if not 0 < std < 12**-0.5:
        raise PerrinError(
            f"an EMA of relative width {std} does not exist; it must lie between 0 and {12**-0.5:.3f}"
        )
    t = std**-2
    roots = np.roots([1, 7, 16 - t, 12 - t])
    return float(max(r.real for r in roots if abs(r.imag) < 1e-8))


class PowerEMA:
    """Averages of some tensors, one per profile, kept in float32."""

    def __init__(self, tensors: Mapping[str, Tensor], stds: Sequence[float]) -> None:
        self.gammas = {std: gamma_of(std) for std in stds}
        self.averages = {std: {n: v.detach().clone() for n, v in tensors.items()} for std in stds}

    def whole(self) -> PowerEMA:
        """The same averages, gathered where their tensors are sharded: all processes must call it together."""
        made = copy.copy(self)
        made.averages = whole(self.averages)
        return made

    @torch.no_grad()
    def update(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Take the weights after training step `step` (the first is 1) into every average."""
        for std, gamma in self.gammas.items():
            share = 1 - (1 - 1 / step) ** (gamma + 1)
            average = self.averages[std]
            floating = [n for n in average if average[n].is_floating_point()]
            torch._foreach_lerp_([average[n] for n in floating], [tensors[n] for n in floating], share)
            for name in average.keys() - set(floating):
                average[name].copy_(tensors[name])


def correlation(gamma_a: float, t_a: float, gamma_b: float, t_b: float) -> float:
    """Inner product of two profiles ending at times t_a and t_b (their appendix C.3)."""
    early = min(t_a, t_b)
    log = (gamma_a + gamma_b + 1) * np.log(early) - gamma_a * np.log(t_a) - gamma_b * np.log(t_b)
    return float((gamma_a + 1) * (gamma_b + 1) / (gamma_a + gamma_b + 1) * np.exp(log) / (t_a * t_b))


def reconstruction(stored: Sequence[tuple[float, int]], std: float, step: int) -> list[float]:
    """Weights with which stored averages (std, step) sum to the average of width `std` at `step`.

    Least squares over the profiles, with weights that sum to one: what did not move in training is rebuilt exactly,
    which the plain fit misses by about a percent with eight snapshots. Exact where the profile is a stored one.
    """
    gammas = [gamma_of(s) for s, _ in stored]
    times = [float(t) for _, t in stored]
    pairs = range(len(stored))
    gram = np.array([[correlation(gammas[i], times[i], gammas[j], times[j]) for j in pairs] for i in pairs])
    target = np.array([correlation(gammas[i], times[i], gamma_of(std), float(step)) for i in pairs])
    unit = gram.max()  # the multiplier of the constraint on the scale of the rest
    one = np.ones((len(stored), 1))
    system = np.block([[gram / unit, one], [one.T, np.zeros((1, 1))]])
    return [float(v) for v in np.linalg.lstsq(system, np.append(target / unit, 1.0), rcond=1e-13)[0][:-1]]
