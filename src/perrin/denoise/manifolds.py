r"""The exact denoiser of points on a manifold, each blurred by heat.

With q_s(x | point) the heat kernel of the process, the data have the density sum_k w_k q_b(clean | point_k), and since
heat that spreads twice is heat of s^2 + b^2 = t^2, the noisy state has

    p(x) = sum_k w_k q_t(x | point_k),    s^2 grad log p = (s^2 / t^2) sum_k share_k(x) displacement_t(x, point_k)

with share_k the responsibilities (Bayes). All arithmetic is float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Prediction
from perrin.errors import PerrinError
from perrin.process.levels import float64, level_of_ratio, ratio
from perrin.process.rotations import Rotations
from perrin.process.torus import Torus


class Points:
    """The denoiser of a finite set of points on a torus or of rotations.

    Args:
        process: `Torus()` or `Rotations()`.
        points: [K, *shape], angles in radians or matrices [..., 3, 3].
        std: of the heat that blurs each, in radians (0: the points alone); weights: [K], positive, equal by default.
    """

    def __init__(
        self, process: Torus | Rotations, points: Tensor, std: float = 0.0, weights: Tensor | None = None
    ) -> None:
        if std < 0:
            raise PerrinError(f"std = {std} must be >= 0")
        given = torch.ones(len(points)) if weights is None else weights
        if given.shape != (len(points),) or not bool((given > 0).all()):
            raise PerrinError(f"weights must be {len(points)} positive numbers, one for each point")
        self.process, self.points, self.std = process, points.to(torch.float64), std
        self.log_weights = torch.log(given.to(torch.float64) / given.to(torch.float64).sum())

    def __call__(self, x: Tensor, level: Tensor, condition: Condition = None) -> Prediction:
        """The displacement at `x` [B, *shape], `level` [B]; in the dtype of x."""
        s = ratio(float64(level)).to(x.device)
        points, blurred = self.points.to(x.device), self._blurred(s)
        way = self.process.displacement(x.to(torch.float64)[:, None], points[None], blurred)
        share = torch.softmax(self._joint(x, blurred), 1)
        mean = (share.reshape(*share.shape, *[1] * (way.dim() - 2)) * way).sum(1)
        # s^2 / t^2, which is 1 where s is infinite and where both are 0
        gain = 1 / (1 + (self.std / s).square()) if self.std else torch.ones_like(s)
        return Prediction((gain.reshape(-1, *[1] * (mean.dim() - 1)) * mean).to(x.dtype))

    def log_prob(self, x: Tensor, level: Tensor) -> Tensor:
        """log density of the noisy state at `level` [B]: [B], nats; per radian, or against uniform rotations."""
        return torch.logsumexp(self._joint(x, self._blurred(ratio(float64(level)).to(x.device))), 1)

    def _blurred(self, s: Tensor) -> Tensor:
        """The level of the noise and the heat of the points together."""
        return level_of_ratio(torch.sqrt(s.square() + self.std**2))

    def _joint(self, x: Tensor, blurred: Tensor) -> Tensor:
        """log of weight times density, [B, K]."""
        points = self.points.to(x.device)[None]
        entries = self.process.log_density(x.to(torch.float64)[:, None], points, blurred)
        # a state that is a single rotation has no places to sum over
        return self.log_weights.to(x.device) + entries.reshape(*entries.shape[:2], -1).sum(2)
