r"""Three answers to what the covariance V of the clean state given the noisy one is; see `measured`.

MMPS       V = (sigma^2 / alpha) dmean/dx, by conjugate gradients over reverse passes (Rozet et al. 2024)
PiGDM      r^2 inside the inverse and (sigma^2 / alpha) dmean/dx before it: one reverse pass (Song et al. 2023)
Proximal   r^2 in both places, no reverse pass: DDNM with s = 0 (Wang et al. 2023), DiffPIR's step (Zhu et al. 2023)
"""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.errors import PerrinError
from perrin.guide.conjugate_gradients import solve_through
from perrin.guide.moving import with_reverse
from perrin.guide.operators.linear import Operator
from perrin.guide.restoring.measured import FLOOR, Measured
from perrin.process import levels
from perrin.process.levels import expand
from perrin.process.state import single


class MMPS(Measured):
    """Moment matching: exact for Gaussian data and any linear measurement, at every level; the default.

    Its bias is what a Gaussian with the right first two moments gets wrong of p(clean | x), and what conjugate gradients
    leave undone. The Jacobian of a network is neither symmetric nor positive at high noise, so that more than a few of
    them do harm there; an exact denoiser deserves as many as there are measurements.

    Args:
        denoiser, operator, measurement, noise, deviation: see `Measured`.
        iterations: of conjugate gradients; each costs a reverse pass of the network.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        operator: Operator,
        measurement: Tensor,
        noise: float = 0.0,
        deviation: float = 1.0,
        iterations: int = 2,
    ) -> None:
        super().__init__(denoiser, operator, measurement, noise, deviation)
        if iterations < 1:
            raise PerrinError(f"iterations = {iterations} must be at least 1")
        self.iterations = iterations

    def shift(self, x: Tensor, level: Tensor, condition: Condition) -> tuple[Prediction, Tensor]:
        """The denoiser's prediction, and V A* (s^2 + A V A*)^-1 (y - A mean)."""
        found, reverse = with_reverse(self.denoiser, x, level, condition)
        operator, residual = self.around(single(found.mean), level)
        gain = expand(levels.sigma(level) ** 2 / levels.alpha(level), x)
        variance = max(self.noise, FLOOR * self.deviation) ** 2

        def product(u: Tensor) -> tuple[Tensor, Tensor]:
            spread = gain * reverse(operator.adjoint(u))
            return spread, variance * u + operator(spread)

        shift, _ = solve_through(product, residual, self.iterations)
        return found, torch.zeros_like(x) if shift is None else shift


class PiGDM(Measured):
    """Pseudo-inverse guidance: independent entries inside the inverse, one reverse pass outside it.

    Its bias: the measurement is trusted as if the clean state's entries were independent given x, too little where the
    data are smooth.
    """

    def shift(self, x: Tensor, level: Tensor, condition: Condition) -> tuple[Prediction, Tensor]:
        """The denoiser's prediction, and (sigma^2 / alpha) J^T A* (s^2 + r^2 A A*)^-1 (y - A mean)."""
        found, reverse = with_reverse(self.denoiser, x, level, condition)
        operator, residual = self.around(single(found.mean), level)
        u = self.weighed(operator, residual, self.alone(level, residual.real))
        return found, expand(levels.sigma(level) ** 2 / levels.alpha(level), x) * reverse(operator.adjoint(u))


class Proximal(Measured):
    """The nearest clean state that explains the measurement, without a derivative of the network.

    Its bias: what is measured says nothing of what is not, but through the next steps; narrow posteriors come out wide.
    """

    def shift(self, x: Tensor, level: Tensor, condition: Condition) -> tuple[Prediction, Tensor]:
        """The denoiser's prediction, and r^2 A* (s^2 + r^2 A A*)^-1 (y - A mean)."""
        found = self.denoiser(x, level, condition)
        operator, residual = self.around(single(found.mean), level)
        u = self.weighed(operator, residual, self.alone(level, residual.real))
        return found, self.alone(level, x) * operator.adjoint(u)
