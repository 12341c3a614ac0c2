"""Nearest neighbours by brute force, a chunk of rows at a time: 10,000 x 10,000 in little memory.

    |a - b|^2 = |a|^2 + |b|^2 - 2 a . b

is one matrix product but cancels for near copies, the very thing that distances to a training set are asked
for. So the product only picks candidates; their distances are computed again from the differences.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.metrics.points import Points, as_pair

CHUNK = 16_000_000  # distances held at once: 128 MB in float64
SPARE = 4  # candidates beyond k, so that rounding in the product cannot push a true neighbour out


def squared_distances(a: Tensor, b: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Chunks `(rows, [len(rows), M])` of the squared distances of `a` [N, D] to `b` [M, D]; dtype kept."""
    centre = b.mean(0)  # a common offset costs digits and changes no distance
    a, b = a - centre, b - centre
    norms = b.square().sum(1)
    step = max(1, CHUNK // len(b))
    for start in range(0, len(a), step):
        part = a[start : start + step]
        table = torch.addmm(norms[None, :], part, b.T, alpha=-2.0).add_(part.square().sum(1, keepdim=True))
        yield slice(start, start + len(part)), table.clamp_(min=0)


def _exact(points: Tensor, reference: Tensor, indices: Tensor) -> Tensor:
    """Distances [N, K] of each point to its own candidates `indices` [N, K], from differences in float64."""
    columns = [(points.double() - reference[column].double()).norm(dim=1) for column in indices.T]
    return torch.stack(columns, dim=1)


def nearest_distances(points: Points, reference: Points, k: int = 1) -> tuple[Tensor, Tensor]:
    """The `k` nearest members of `reference` for every point (Euclidean over all trailing dimensions).

    Args:
        points, reference: [N, ...] and [M, ...], M >= k.
    Returns:
        distances: [N, k] float64, rising along k; exactly zero for an exact copy.
        indices: [N, k] int64 into `reference`.
    Raises:
        PerrinError: fewer than `k` members, different dimensions, or values that are not finite.
    """
    a, b = as_pair(points, reference, dtype=None)
    if not 1 <= k <= len(b):
        raise PerrinError(f"k = {k} nearest neighbours asked of a reference set of {len(b)}")
    distances, indices = [], []
    for rows, table in squared_distances(a, b):
        candidates = table.topk(min(k + SPARE, len(b)), dim=1, largest=False).indices.sort(1).values
        exact = _exact(a[rows], b, candidates)
        order = exact.argsort(dim=1, stable=True)[:, :k]  # of equal distances the lower index comes first
        distances.append(exact.gather(1, order))
        indices.append(candidates.gather(1, order))
    return torch.cat(distances), torch.cat(indices)
