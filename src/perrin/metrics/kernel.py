"""Kernel inception distance: the squared maximum mean discrepancy with a cubic kernel, without bias.

    MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)
    k(x, y) = (x . y / D + 1)^3

Unlike the Frechet distance its expectation does not depend on the number of points, so it is zero on
average (and as often negative as positive) for two sets drawn from the same law.
Binkowski et al., "Demystifying MMD GANs", 2018 (arXiv:1801.01401).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.metrics.points import Points, as_pair


class Kid(NamedTuple):
    """The estimate and its standard error."""

    value: float
    stderr: float


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _mean_of_pairs(points: Tensor) -> Tensor:
    """Mean of k over ordered pairs of different points."""
    table = _kernel(points, points)
    return (table.sum() - table.trace()) / (len(points) * (len(points) - 1))


def polynomial_mmd(generated: Points, real: Points) -> float:
    """The unbiased MMD^2 of two sets `[N, ...]`, `[M, ...]` with N, M >= 2, all pairs used at once."""
    a, b = as_pair(generated, real, least=2)
    return float(_mean_of_pairs(a) + _mean_of_pairs(b) - 2 * _kernel(a, b).mean())


def kid(generated: Points, real: Points, *, blocks: int = 10, seed: int = 0) -> Kid:
    """KID as the mean of `polynomial_mmd` over disjoint blocks, with the standard error of that mean.

    Both sets are shuffled by `seed` (files often come sorted by class) and cut into `blocks` parts. Disjoint
    blocks are independent, so the error is honest; overlapping subsets, the usual recipe, understate it.

    Args:
        generated, real: [N, ...] and [M, ...], at least two points per block each.
        blocks: number of parts, at least 2.
    Raises:
        PerrinError: too few points for the blocks, different dimensions, or values that are not finite.
    """
    if blocks < 2:
        raise PerrinError(f"blocks = {blocks}: a standard error needs at least 2")
    a, b = as_pair(generated, real, least=2 * blocks)
    generator = torch.Generator().manual_seed(seed)
    fake, true = (
        points[torch.randperm(len(points), generator=generator)].tensor_split(blocks) for points in (a, b)
    )
    parts = zip(fake, true, strict=True)
    values = torch.tensor([polynomial_mmd(x, y) for x, y in parts], dtype=torch.float64)
    return Kid(float(values.mean()), float(values.std()) / blocks**0.5)
