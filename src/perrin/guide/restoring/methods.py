r"""Three answers to what the covariance V of the clean state given the noisy one is; see `measured`.

MMPS       V = (sigma^2 / alpha) dmean/dx, by conjugate gradients over reverse passes (Rozet et al. 2024)
PiGDM      r^2 inside the inverse and (sigma^2 / alpha) dmean/dx before it: one reverse pass (Song et al. 2023)
Proximal   r^2 in both places, no reverse pass: DDNM with s = 0 (Wang et al. 2023), DiffPIR's step (Zhu et al. 2023)
"""

from __future__ import annotations

from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.guide.conjugate_gradients import solve
from perrin.guide.moving import with_reverse
from perrin.guide.operators.linear import Operator
from perrin.guide.restoring.measured import FLOOR, Measured, weighed
from perrin.process import levels
from perrin.process.levels import expand
from perrin.process.state import single


class MMPS(Measured):
    """Moment matching: exact for Gaussian data and any linear measurement, at every level.

    Its bias is what a Gaussian with the right first two moments gets wrong of p(clean | x).

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
        iterations: int = 5,
    ) -> None:
        super().__init__(denoiser, operator, measurement, noise, deviation)
        self.iterations = iterations

    def shift(self, x: Tensor, level: Tensor, condition: Condition) -> tuple[Prediction, Tensor]:
        """The denoiser's prediction, and V A* (s^2 + A V A*)^-1 (y - A mean)."""
        found, reverse = with_reverse(self.denoiser, x, level, condition)
        gain = expand(levels.sigma(level) ** 2 / levels.alpha(level), x)
        variance = max(self.noise, FLOOR * self.deviation) ** 2

        def spread(v: Tensor) -> Tensor:
            return gain * reverse(v)

        def product(u: Tensor) -> Tensor:
            return variance * u + self.operator(spread(self.operator.adjoint(u)))

        u = solve(product, self.residual(single(found.mean)), self.iterations)
        return found, spread(self.operator.adjoint(u))


class PiGDM(Measured):
    """Pseudo-inverse guidance: independent entries inside the inverse, one reverse pass outside it.

    Its bias: the measurement is trusted as if the clean state's entries were independent given x, too little where the
    data are smooth.
    """

    def shift(self, x: Tensor, level: Tensor, condition: Condition) -> tuple[Prediction, Tensor]:
        """The denoiser's prediction, and (sigma^2 / alpha) J^T A* (s^2 + r^2 A A*)^-1 (y - A mean)."""
        found, reverse = with_reverse(self.denoiser, x, level, condition)
        u = weighed(self, self.residual(single(found.mean)), level)
        return found, expand(levels.sigma(level) ** 2 / levels.alpha(level), x) * reverse(
            self.operator.adjoint(u)
        )


class Proximal(Measured):
    """The nearest clean state that explains the measurement, without a derivative of the network.

    Its bias: what is measured says nothing of what is not, but through the next steps; narrow posteriors come out wide.
    """

    def shift(self, x: Tensor, level: Tensor, condition: Condition) -> tuple[Prediction, Tensor]:
        """The denoiser's prediction, and r^2 A* (s^2 + r^2 A A*)^-1 (y - A mean)."""
        found = self.denoiser(x, level, condition)
        u = weighed(self, self.residual(single(found.mean)), level)
        return found, self.alone(level, x) * self.operator.adjoint(u)
