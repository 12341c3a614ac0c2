r"""Denoisers that are exactly right: the ground truth of tests, documents and benchmarks.

For data N(m, s^2), x = alpha clean + sigma noise has the posterior (Bayes)

    mean = (alpha s^2 x + sigma^2 m) / n,   variance = s^2 sigma^2 / n,   n = alpha^2 s^2 + sigma^2

and a mixture weighs its components' means by their responsibilities at x. All arithmetic is float64. `Correlated` is
that of a Gaussian of any covariance, given some of its entries; `Sequences` and `Markov` are those of tokens, `Points` that
of points on a torus or of rotations.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from perrin.denoise.correlated import Correlated
from perrin.denoise.manifolds import Points
from perrin.denoise.prediction import Condition, Prediction
from perrin.denoise.sequences import Markov, Sequences
from perrin.errors import PerrinError
from perrin.process import levels
from perrin.process.levels import expand

__all__ = ["Correlated", "Empirical", "Gaussian", "Markov", "Mixture", "Points", "Sequences"]


class Gaussian:
    """The denoiser of N(mean, std^2), entry by entry; works row by row, so a batch never changes an item.

    Args:
        mean, std: broadcast against the state; std = 0 is a point mass.
        variance: whether predictions carry the posterior variance (rules then use it).
    """

    def __init__(
        self, mean: Tensor | float = 0.0, std: Tensor | float = 1.0, *, variance: bool = False
    ) -> None:
        self.mean = torch.as_tensor(mean, dtype=torch.float64)
        self.std = torch.as_tensor(std, dtype=torch.float64)
        if bool((self.std < 0).any()):
            raise PerrinError("std must be >= 0")
        self.variance = variance

    def __call__(self, x: Tensor, level: Tensor, condition: Condition = None) -> Prediction:
        """The posterior at `x` [B, ...], `level` [B]; the result has the dtype of x."""
        y = x.to(torch.float64)
        alpha, sigma = expand(levels.alpha(level), y), expand(levels.sigma(level), y)
        m, s2 = self.mean.to(x.device), self.std.to(x.device) ** 2
        total = alpha**2 * s2 + sigma**2
        mean = (alpha * s2 * y + sigma**2 * m) / total
        # clean end of a point mass: 0/0, and the point is known
        mean = torch.where(total == 0, m, mean)
        if not self.variance:
            return Prediction(mean.to(x.dtype))
        spread = torch.where(total == 0, torch.zeros_like(total), s2 * sigma**2 / total)
        return Prediction(mean.to(x.dtype), variance=spread.expand_as(y).to(x.dtype))

    def log_prob(self, x: Tensor, level: Tensor) -> Tensor:
        """log density of the noisy state at `level` [B], unit coordinates, nats [B]."""
        y = x.to(torch.float64)
        alpha, sigma = expand(levels.alpha(level), y), expand(levels.sigma(level), y)
        variance = alpha**2 * self.std**2 + sigma**2
        z2 = (y - alpha * self.mean) ** 2 / variance
        return (-0.5 * (z2 + torch.log(2 * math.pi * variance))).flatten(1).sum(1)


class Mixture:
    """The denoiser of a mixture of isotropic Gaussians.

    Args:
        means: [K, *shape].
        stds: one number, or [K].
        weights: [K], positive; equal by default.
        variance: whether predictions carry the posterior variance.
    """

    def __init__(
        self,
        means: Tensor,
        stds: Tensor | float = 0.0,
        weights: Tensor | None = None,
        *,
        variance: bool = False,
    ) -> None:
        self.means = torch.as_tensor(means, dtype=torch.float64)
        count = self.means.shape[0]
        self.stds = torch.as_tensor(stds, dtype=torch.float64).expand(count)
        weights = torch.ones(count) if weights is None else torch.as_tensor(weights)
        if weights.shape != (count,) or not bool((weights > 0).all()):
            raise PerrinError(f"weights must be {count} positive numbers, one per component")
        if not bool((self.stds >= 0).all()):
            raise PerrinError("stds must be >= 0")
        self.log_weights = torch.log_softmax(torch.log(weights.to(torch.float64)), 0)
        self.variance = variance

    def _components(self, x: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x flat [B, d] float64; alpha [B, 1]; variance at the level [B, K]; log joint density [B, K]."""
        y = x.to(torch.float64).flatten(1)
        m = self.means.flatten(1).to(x.device)
        alpha = levels.alpha(level).to(x.device)[:, None]
        variance = alpha**2 * self.stds.to(x.device) ** 2 + levels.sigma(level).to(x.device)[:, None] ** 2
        square = (y**2).sum(1, keepdim=True) - 2 * alpha * (y @ m.T) + alpha**2 * (m**2).sum(1)
        tiny = torch.finfo(torch.float64).tiny
        safe = variance.clamp(min=tiny)
        log_joint = self.log_weights.to(x.device) - 0.5 * (
            square.clamp(min=0) / safe + y.shape[1] * torch.log(2 * math.pi * safe)
        )
        return y, alpha, variance, log_joint

    def __call__(self, x: Tensor, level: Tensor, condition: Condition = None) -> Prediction:
        """The posterior at `x` [B, ...], `level` [B]; the result has the dtype of x."""
        y, alpha, variance, log_joint = self._components(x, level)
        m = self.means.flatten(1).to(x.device)
        share = torch.softmax(log_joint, 1)
        s2 = self.stds.to(x.device) ** 2
        safe = variance.clamp(min=torch.finfo(torch.float64).tiny)
        gain = alpha * s2 / safe  # of x in each component's posterior mean
        rest = 1 - alpha * gain  # of the component's mean: sigma^2 / (alpha^2 s^2 + sigma^2)
        mean = (share * gain).sum(1, keepdim=True) * y + (share * rest) @ m
        if not self.variance:
            return Prediction(mean.reshape(x.shape).to(x.dtype))
        # law of total variance over the components
        second = ((share * gain**2).sum(1, keepdim=True) * y**2 + 2 * y * ((share * gain * rest) @ m)) + (
            share * rest**2
        ) @ m**2
        spread = (share * s2 * rest).sum(1, keepdim=True) + (second - mean**2).clamp(min=0)
        return Prediction(mean.reshape(x.shape).to(x.dtype), variance=spread.reshape(x.shape).to(x.dtype))

    def log_prob(self, x: Tensor, level: Tensor) -> Tensor:
        """log density of the noisy state at `level` [B], unit coordinates, nats [B]."""
        return torch.logsumexp(self._components(x, level)[3], 1)


class Empirical(Mixture):
    """The denoiser of a finite set of points [K, *shape], each blurred by `std` (0: the points alone)."""

    def __init__(self, points: Tensor, std: float = 0.0, *, variance: bool = False) -> None:
        super().__init__(points, std, variance=variance)
