r"""White noise on everything: two looks at one clean state are one look with less noise, whatever the data.

x = alpha clean + sigma e,   y = clean + s e'      give    z = (x / alpha / t^2 + y / s^2) t'^2,   t = sigma / alpha
1 / t'^2 = 1 / t^2 + 1 / s^2                       and     E[clean | x, y] = D(alpha' z, level'),  sigma' / alpha' = t'
"""

from __future__ import annotations

from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.errors import PerrinError
from perrin.guide.operators.linear import Operator
from perrin.guide.operators.masking import Mask
from perrin.guide.restoring.measured import Measured
from perrin.guide.wrapper import check_continuous
from perrin.process import levels
from perrin.process.levels import expand
from perrin.process.state import State, single


class Pooled(Measured):
    """Denoising without any bias but the network's own, and without a reverse pass.

    Args:
        denoiser, operator, measurement, noise, deviation: see `Measured`; every entry must be measured as it is.

    Raises:
        PerrinError: another operator.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        operator: Operator,
        measurement: Tensor,
        noise: float = 0.0,
        deviation: float = 1.0,
    ) -> None:
        super().__init__(denoiser, operator, measurement, noise, deviation)
        if not (isinstance(operator, Mask) and bool(operator.keep.all())):
            raise PerrinError(
                "pooling is for noise on every entry (denoise), where nothing else is lost; take mmps"
            )

    def forward(self, x: State, level: Tensor, condition: Condition = None) -> Prediction:
        """The prediction given the measurement, at x [B, ...], level [B]."""
        check_continuous(x, "a measurement")
        return Prediction(self._pooled(single(x, "a measurement"), level, condition))

    def shift(self, x: Tensor, level: Tensor, condition: Condition) -> tuple[Prediction, Tensor]:
        """The denoiser's prediction, and how far that of both looks lies from it."""
        found = self.denoiser(x, level, condition)
        return found, self._pooled(x, level, condition) - single(found.mean)

    def _pooled(self, x: Tensor, level: Tensor, condition: Condition) -> Tensor:
        own, theirs = levels.ratio(level) ** -2, self._noise**-2
        share, after = own / (own + theirs), levels.level_of_ratio((own + theirs) ** -0.5)
        seen = self.measurement.to(x)
        z = expand(share / levels.alpha(level), x) * x + expand(1 - share, x) * seen
        found: Tensor = single(
            self.denoiser((expand(levels.alpha(after), x) * z).to(x), after, condition).mean
        )
        return found
