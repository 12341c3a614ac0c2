r"""The variational auxiliary: what teaches a network its variance (Nichol and Dhariwal 2021, section 3.1).

A model of a chain pays, for the step t -> t-1 of an item (Ho et al. 2020, equation 5),

    L_t = KL( N(c_x x + c_clean clean, std^2) || N(c_x x + c_clean D, std^2 + c_clean^2 V) )     t >= 1
    L_0 = -log p(clean given x) under N(D, V), in bins where the data are whole numbers

with D the predicted clean state, held fixed here so that only V learns, and V its predicted variance. The
value is T L_t in bits per entry: over uniform steps its mean is L_vlb without the prior's term, which is fixed.
L_hybrid = L_simple + 0.001 L_vlb, as published.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from perrin.contracts import Lattice
from perrin.denoise.prediction import Prediction
from perrin.errors import PerrinError
from perrin.likelihood.gaussians import discretised_log_prob, kl
from perrin.process import gaussian
from perrin.process.levels import expand
from perrin.process.schedulebook.table import Discrete
from perrin.process.state import State
from perrin.registry import schedules


class Variational:
    """`weight` times the variational bound's term at each item's step of `chain`; see `variational`."""

    def __init__(self, chain: Discrete, weight: float, lattice: Lattice | None) -> None:
        self.chain, self.weight, self.lattice = chain, weight, lattice
        _, c_clean, std = gaussian.posterior(chain.levels, chain.previous)
        self.gain = c_clean[1:] / std[1:]  # at step 0 the posterior is a point

    def __call__(self, prediction: Prediction, level: Tensor, clean: State) -> Tensor:
        """The auxiliary loss [B] of predictions at `level` [B]; gradients reach the variance alone.

        Raises:
            PerrinError: a denoiser without variance, or levels that are not the chain's.
        """
        variance, mean = prediction.variance, prediction.mean
        if not isinstance(variance, Tensor) or not isinstance(mean, Tensor) or not isinstance(clean, Tensor):
            raise PerrinError(
                "auxiliary 'variational' needs a denoiser of one leaf that has learned its variance; a recipe says "
                "so by parameterisation: {variance: {name: learned_range}}"
            )
        step = self._step(level)
        clean, mean, variance = clean.double(), mean.detach().double(), variance.double()
        terms = self._divergence(step, clean, mean, variance).flatten(1).mean(1)
        first = torch.nonzero(step == 0).flatten()
        if len(first):
            last = self._reconstruction(clean[first], mean[first], variance[first])
            terms = terms.index_copy(0, first, last.flatten(1).mean(1))
        return terms * (self.weight * len(self.chain.levels) / math.log(2))

    def _step(self, level: Tensor) -> Tensor:
        step = self.chain.time(level).round().long()
        if not torch.allclose(self.chain.levels.to(level.device)[step.clamp(min=0)], level):
            raise PerrinError(
                "auxiliary 'variational' is a sum over a chain's steps; train at them, by objective.law: "
                "{name: uniform_step} with the same schedule"
            )
        return step.clamp(min=0)

    def _divergence(self, step: Tensor, clean: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """KL per entry, with both Gaussians moved by -c_x x - c_clean clean and divided by std: neither changes it."""
        gain = expand(self.gain.to(step.device)[(step - 1).clamp(min=0)], clean)
        zero, one = clean.new_zeros(()), clean.new_ones(())
        return kl(zero, one, gain * (mean - clean), 1 + gain**2 * variance)

    def _reconstruction(self, clean: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """-log p per entry: of a bin, or a density where the data are continuous."""
        if self.lattice is not None:
            return -discretised_log_prob(clean, mean, torch.sqrt(variance), self.lattice)
        return 0.5 * (torch.log(2 * math.pi * variance) + (clean - mean) ** 2 / variance)


def variational(
    schedule: str | dict[str, Any] = "ddpm_cosine", weight: float = 0.001, lattice: Lattice | None = None
) -> Variational:
    """The variational term of the hybrid loss, for the objective `Denoising(..., auxiliary=...)`.

    Args:
        schedule: the chain, by its name or as `{name: ..., **options}`; its steps are the levels to train at.
        weight: of the bound in bits per entry, beside the noise loss (mean over entries).
        lattice: of whole-numbered data, from their codec.

    Raises:
        PerrinError: a schedule that is no chain, or a weight below zero.
    """
    chain = schedules.build(schedule)
    if not isinstance(chain, Discrete):
        raise PerrinError(
            f"auxiliary 'variational' needs a chain (ddpm_linear, ddpm_cosine, discrete), not {schedule!r}"
        )
    if weight < 0:
        raise PerrinError(f"weight = {weight} of the auxiliary 'variational' must be >= 0")
    return Variational(chain, weight, lattice)
