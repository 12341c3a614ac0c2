r"""The exact denoiser of a Gaussian whose entries are correlated, also of a part of them given the others.

Every entry of a state is a measurement of y ~ N(m, C),  x = a y + noise of variance n:

    free       a = alpha, n = sigma^2        observed   a = 1, n = 0        not valid   a = 0, n = 1
    E[y | x] = m + C A (A C A + N)^-1 (x - A m),   A = diag a,   N = diag n        (Bayes, all of them at once)

A linear Gaussian state-space model is one such, and this its Kalman smoother at any level of noise.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Prediction
from perrin.errors import PerrinError
from perrin.process import levels


class Correlated:
    """The denoiser of N(mean, covariance) over all entries of a state; float64, row by row.

    Args:
        mean: [*shape]; covariance: [d, d] of the flattened entries, d their number.
        variance: whether predictions carry the posterior variance of each entry.

    The conditions `"observed"` and `"valid"` bool [B, *shape] say which entries of x are clean and which there are; without
    them all are there and noisy.

    Raises:
        PerrinError: a covariance of another size, or one that is not symmetric.
    """

    def __init__(self, mean: Tensor, covariance: Tensor, *, variance: bool = False) -> None:
        self.mean, self.covariance = mean.to(torch.float64), covariance.to(torch.float64)
        d = self.mean.numel()
        if self.covariance.shape != (d, d) or not torch.allclose(self.covariance, self.covariance.T):
            raise PerrinError(
                f"covariance of shape {tuple(covariance.shape)}; a symmetric one of ({d}, {d}) is right"
            )
        self.variance = variance

    def __call__(self, x: Tensor, level: Tensor, condition: Condition = None) -> Prediction:
        """The posterior at `x` [B, *shape], `level` [B]; the result has the dtype of x."""
        y = x.to(torch.float64).flatten(1)
        mean, covariance = self.mean.flatten().to(x.device), self.covariance.to(x.device)
        scale, noise = self._measured(y, level, condition)
        gain = covariance * scale[:, None]  # C A
        total = scale[:, :, None] * gain + torch.diag_embed(noise)
        found = mean + (gain @ torch.linalg.solve(total, y - scale * mean)[..., None])[..., 0]
        if not self.variance:
            return Prediction(found.reshape(x.shape).to(x.dtype))
        left = covariance.diagonal() - (gain * torch.linalg.solve(total, gain.mT).mT).sum(2)
        return Prediction(
            found.reshape(x.shape).to(x.dtype), variance=left.clamp(min=0).reshape(x.shape).to(x.dtype)
        )

    def log_prob(self, x: Tensor, level: Tensor, condition: Condition = None) -> Tensor:
        """log density of the free entries at `level` [B] given the observed ones, unit coordinates, nats [B]."""
        y = x.to(torch.float64).flatten(1)
        scale, noise = self._measured(y, level, condition)
        given, there = (self._mask(condition, name, y, name == "valid") for name in ("observed", "valid"))
        found = []
        for i in range(len(y)):
            one = torch.diag(noise[i]) + scale[i, :, None] * self.covariance.to(x.device) * scale[i]
            off = y[i] - scale[i] * self.mean.flatten().to(x.device)
            both, known = there[i] | given[i], given[i]
            found.append(
                _log_normal(off[both], one[both][:, both]) - _log_normal(off[known], one[known][:, known])
            )
        return torch.stack(found)

    def _measured(self, y: Tensor, level: Tensor, condition: Condition) -> tuple[Tensor, Tensor]:
        """(a, n) of every entry, [B, d]."""
        given, there = (self._mask(condition, name, y, name == "valid") for name in ("observed", "valid"))
        alpha, sigma = (f(level).to(y)[:, None].expand_as(y) for f in (levels.alpha, levels.sigma))
        scale = torch.where(given, 1.0, torch.where(there, alpha, 0.0))
        return scale, torch.where(given, 0.0, torch.where(there, sigma**2, 1.0))

    def _mask(self, condition: Condition, name: str, y: Tensor, default: bool) -> Tensor:
        mask = (condition or {}).get(name)
        return torch.full_like(y, default, dtype=torch.bool) if mask is None else mask.to(y.device).flatten(1)


def _log_normal(off: Tensor, covariance: Tensor) -> Tensor:
    """log N(off; 0, covariance), nats; 0 of no entries."""
    if not len(off):
        return off.new_zeros(())
    root = torch.linalg.cholesky(covariance)
    normal = torch.distributions.MultivariateNormal(torch.zeros_like(off), scale_tril=root)
    found: Tensor = normal.log_prob(off)  # type: ignore[no-untyped-call]
    return found
