r"""What restoration by a denoiser is: the mean of the clean state given the noisy one and a measurement of the clean one.

For clean ~ N(mean, V) given x, and y = A clean + s noise, it is a Kalman update (Tweedie's formula in Song et al. 2023):

    mean' = mean + V A* (s^2 + A V A*)^-1 (y - A mean)

The methods differ by what they take for V; `denoise.exact` shows what each gets wrong.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Self

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.errors import PerrinError
from perrin.guide.conjugate_gradients import solve
from perrin.guide.moving import moved
from perrin.guide.operators.linear import Operator, inner
from perrin.guide.wrapper import Guide, check_continuous
from perrin.process import levels
from perrin.process.levels import expand
from perrin.process.state import State, single

FLOOR = 1e-4
"""Of the noise's deviation, in units of the state's: without any, conjugate gradients meet a singular matrix."""


class Measured(Guide):
    """Pull the prediction towards clean states that explain a measurement.

    Args:
        denoiser: of continuous states of one leaf.
        operator: A. measurement: y [B, *measured], or [1, *measured] for all samples.
        noise: s, its standard deviation (of complex measurements of each part), 0 for none.
        deviation: standard deviation of clean states' entries, a model's `sigma_data`.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        operator: Operator,
        measurement: Tensor,
        noise: float = 0.0,
        deviation: float = 1.0,
    ) -> None:
        super().__init__(denoiser)
        if not 0 <= noise < torch.inf or not 0 < deviation < torch.inf:
            raise PerrinError(f"noise = {noise} must be 0 or above, deviation = {deviation} above 0")
        operator.adjoint(measurement)  # refuses what does not fit
        self.operator, self.measurement = operator, measurement
        self.noise, self.deviation = noise, deviation

    def forward(self, x: State, level: Tensor, condition: Condition = None) -> Prediction:
        """The prediction given the measurement, at x [B, ...], level [B]."""
        check_continuous(x, "a measurement")
        state = single(x, "a measurement")
        if len(self.measurement) not in (1, len(state)):
            raise PerrinError(
                f"{len(self.measurement)} measurements for {len(state)} samples; give one, or one each"
            )
        found, shift = self.shift(state, level, condition)
        return moved(found, shift, level)

    @abstractmethod
    def shift(self, x: Tensor, level: Tensor, condition: Condition) -> tuple[Prediction, Tensor]:
        """The denoiser's prediction, and what is added to its mean."""

    def around(self, mean: Tensor, level: Tensor) -> tuple[Operator, Tensor]:
        """The linear operator that stands for A near these clean states, and y - A mean, [B, *measured]."""
        return self.operator.around(mean, self._measurement(mean), self.alone(level, mean), self._noise)

    def alone(self, level: Tensor, like: Tensor) -> Tensor:
        """r^2 = sigma^2 d^2 / (alpha^2 d^2 + sigma^2): the variance of Gaussian entries that are independent."""
        alpha, sigma, d = levels.alpha(level), levels.sigma(level), self.deviation
        return expand((sigma * d) ** 2 / ((alpha * d) ** 2 + sigma**2), like)

    def weighed(self, operator: Operator, residual: Tensor, r2: Tensor) -> Tensor:
        """(s^2 + r^2 A A*)^-1 residual, [B, *measured], of a linear A."""

        def product(u: Tensor) -> Tensor:
            return self._noise**2 * u + r2 * operator(operator.adjoint(u))

        return solve(product, residual, tolerance=1e-5)

    def log_twist(self, mean: Tensor, level: Tensor) -> Tensor:
        """log N(y; A mean, s^2 + r^2 A A*) [B] up to a constant of the level, as a noisy state has it."""
        operator, residual = self.around(mean, level)
        return -0.5 * inner(residual, self.weighed(operator, residual, self.alone(level, residual.real)))

    def log_likelihood(self, clean: Tensor) -> Tensor:
        """log N(y; A clean, s^2) [B] up to a constant, of clean states [B, ...]."""
        return self.operator.log_likelihood(clean, self._measurement(clean), self._noise)

    def _measurement(self, like: Tensor) -> Tensor:
        """In the precision of these states."""
        kind = like.dtype.to_complex() if self.measurement.is_complex() else like.dtype
        return self.measurement.to(like.device, kind)

    @property
    def _noise(self) -> float:
        return max(self.noise, FLOOR * self.deviation)

    def repeated(self, count: int) -> Self:
        """The same for `count` rows in the place of each."""
        found = copy.copy(self)
        if len(self.measurement) > 1:
            found.measurement = self.measurement.repeat_interleave(count, 0)
        return found

    def check(self, levels: Tensor) -> None:
        """Refuse what the denoiser refuses, and zero SNR, where sigma^2 / alpha is infinite."""
        super().check(levels)
        if bool(torch.isneginf(levels).any()):
            raise PerrinError("restoration starts at a finite level: use grid 'logsnr' or 'karras'")
