"""Fidelity and variety apart: precision, recall, density and coverage.

A set's manifold is the union of the balls around its points, each reaching its point's k-th neighbour in
the set. With `B(x)` the ball of x, N real points x_i and M generated points y_j:

    precision = mean_j [ y_j in any B(x_i) ]        recall   = mean_i [ x_i in any B(y_j) ]
    density   = sum_ij [ y_j in B(x_i) ] / (k M)    coverage = mean_i [ any y_j in B(x_i) ]

Kynkaanniemi et al., "Improved precision and recall metric", 2019 (arXiv:1904.06991);
Naeem et al., "Reliable fidelity and diversity metrics", 2020 (arXiv:2002.09797).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.metrics.neighbours import nearest_distances, squared_distances
from perrin.metrics.points import Points, as_points


class PrecisionRecall(NamedTuple):
    """Both in [0, 1]."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """`density` >= 0 (about 1 for the same law, above where samples crowd), `coverage` in [0, 1]."""

    density: float
    coverage: float


class Manifold:
    """The balls around `points` [N, ...], each reaching its point's `k`-th neighbour; made once, asked often.

    Raises:
        PerrinError: not more than `k` points, k < 1, or values that are not finite (`name` says whose).
    """

    def __init__(self, points: Points, k: int = 5, name: str = "points") -> None:
        if k < 1:
            raise PerrinError(f"k = {k}: balls reach at least the first neighbour")
        self.k = k
        self.points = as_points(points, name, least=k + 1)
        distances, _ = nearest_distances(
            self.points, self.points, k + 1
        )  # the first neighbour is the point itself
        self.squared_radii = distances[:, k].square()

    def holds(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """How many balls hold each of `points` [M, D]: [M], and how many of them each ball holds: [N]."""
        if points.shape[1] != self.points.shape[1]:
            raise PerrinError(f"points of {points.shape[1]} numbers in a manifold of {self.points.shape[1]}")
        # A point on the rim (a duplicate, the neighbour that sets the radius) is inside despite rounding.
        rounding = 1e-11 * self.points.var(0).sum() + 1e-28 * self.points.square().mean(0).sum()
        reach = self.squared_radii * (1 + 1e-9) + rounding
        per_point = torch.empty(len(points), dtype=torch.long)
        per_ball = torch.zeros(len(self.points), dtype=torch.long)
        for rows, table in squared_distances(points, self.points):
            within = table <= reach
            per_point[rows] = within.sum(1)
            per_ball += within.sum(0)
        return per_point, per_ball


def fidelity_variety(generated: Manifold, real: Manifold) -> tuple[PrecisionRecall, DensityCoverage]:
    """All four figures of two manifolds with the same `k`."""
    on_real, held = real.holds(generated.points)
    on_generated, _ = generated.holds(real.points)
    share = [float((counts > 0).double().mean()) for counts in (on_real, on_generated, held)]
    density = float(on_real.double().mean()) / real.k
    return PrecisionRecall(share[0], share[1]), DensityCoverage(density, share[2])


def precision_recall(generated: Points, real: Points, k: int = 5) -> PrecisionRecall:
    """Share of generated points on the real manifold, and of real points on the generated one.

    Args:
        generated, real: [M, ...] and [N, ...], more than `k` points each.
        k: neighbours that a ball reaches; a larger one is kinder.
    Raises:
        PerrinError: too few points, different dimensions, or values that are not finite.
    """
    return fidelity_variety(Manifold(generated, k, "generated"), Manifold(real, k, "real"))[0]


def density_coverage(generated: Points, real: Points, k: int = 5) -> DensityCoverage:
    """How deep generated points lie in the real manifold, and how much of it they reach.

    For two samples of one continuous law the expected coverage is
    `1 - (N - 1)...(N - k) / ((M + N - 1)...(M + N - k))`, about `1 - 2^-k` for equal counts.

    Args, Raises: as `precision_recall`.
    """
    return fidelity_variety(Manifold(generated, k, "generated"), Manifold(real, k, "real"))[1]
