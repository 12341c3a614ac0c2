"""The Frechet distance between two sets, each taken as a Gaussian (FID when the points are features).

    d^2 = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1^(1/2) S2 S1^(1/2))^(1/2)

The last trace is the sum of the square roots of the eigenvalues of a symmetric matrix. With any roots
`Ri` such that `Si = Ri^T Ri` these are the singular values of `R1 R2^T`, which is how they are computed:
nothing can become complex, a singular covariance (fewer points than dimensions) is no special case, and
zero eigenvalues are not blown up by a square root of rounding errors.

Dowson and Landau, "The Frechet distance between multivariate normal distributions", 1982;
Heusel et al., "GANs trained by a two time-scale update rule", 2017 (arXiv:1706.08500).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.metrics.points import Points, as_pair, as_points


class Moments(NamedTuple):
    """What the distance needs to know of a set: `mean` [D] and `covariance` [D, D] (unbiased), float64."""

    mean: Tensor
    covariance: Tensor


def moments(points: Points) -> Moments:
    """Mean and unbiased covariance of `points` [N, ...], N >= 2."""
    flat = as_points(points, "points", least=2)
    mean = flat.mean(0)
    centred = flat - mean
    return Moments(mean, centred.T @ centred / (len(flat) - 1))


def _root(covariance: Tensor) -> Tensor:
    """`R` with `R^T R` = covariance; what rounding made of the zero eigenvalues is set back to zero."""
    values, vectors = torch.linalg.eigh((covariance + covariance.T) / 2)
    floor = values.abs().max() * len(values) * torch.finfo(values.dtype).eps
    if float(values.min()) < -1e3 * float(floor):
        raise PerrinError(f"covariance has the eigenvalue {float(values.min()):.3g}; none may be negative")
    values = torch.where(values > floor, values, 0.0)
    return values.sqrt()[:, None] * vectors.T


def frechet_from_moments(a: Moments, b: Moments) -> float:
    """The squared Frechet distance (what the field prints as FID) of two sets from their stored moments.

    Raises:
        PerrinError: moments of different dimension, or a covariance with a negative eigenvalue.
    """
    mean_a, covariance_a, mean_b, covariance_b = (torch.as_tensor(x).double() for x in (*a, *b))
    size = len(mean_a)
    if mean_b.shape != (size,) or not covariance_a.shape == covariance_b.shape == (size, size):
        raise PerrinError(
            f"moments do not match: means {tuple(mean_a.shape)} and {tuple(mean_b.shape)}, "
            f"covariances {tuple(covariance_a.shape)} and {tuple(covariance_b.shape)}"
        )
    overlap = torch.linalg.svdvals(_root(covariance_a) @ _root(covariance_b).T).sum()
    spread = covariance_a.trace() + covariance_b.trace() - 2 * overlap
    return max(float((mean_a - mean_b).square().sum() + spread), 0.0)  # rounding may leave -1e-16


def frechet_distance(generated: Points, real: Points) -> float:
    """The squared Frechet distance between two sets of points, in the points' units squared.

    It is biased upwards, the more the fewer the points: compare only equal counts, beside a ceiling.

    Args:
        generated, real: [N, ...] and [M, ...], at least two points each.
    Raises:
        PerrinError: too few points, different dimensions, or values that are not finite.
    """
    a, b = as_pair(generated, real, least=2)
    return frechet_from_moments(moments(a), moments(b))
