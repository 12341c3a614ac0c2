"""Overlapping patches and their reassembly with smooth weights that add up to one.

    whole = sum_i w_i patch_i / sum_i w_i,   w = a product over axes of sin^2(pi (j + 1/2) / n), j = 0 .. n - 1

The quotient is a partition of unity wherever the patches lie, so patches cut from a volume and put together again are
that volume. Weights fall to nearly nothing at a patch's border, where a network sees least.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from types import EllipsisType

import torch
from torch import Tensor

from perrin.errors import PerrinError

Place = tuple[int, ...]
"""Where a patch begins along every axis."""


def patch_places(size: Sequence[int], patch: Sequence[int], overlap: float = 0.5) -> list[Place]:
    """Where patches begin that cover a volume of this size, evenly spread.

    Args:
        overlap: the least share of a patch that its neighbour covers too, 0 <= overlap < 1.

    Raises:
        PerrinError: a patch that is larger than the volume, or no such overlap.
    """
    if not 0 <= overlap < 1:
        raise PerrinError(f"overlap {overlap} must be at least 0 and below 1")
    if len(size) != len(patch) or any(p > n or p < 1 for n, p in zip(size, patch, strict=True)):
        raise PerrinError(
            f"patches of {_by(patch)} do not fit into {_by(size)} voxels; write a patch that does, or a spacing with "
            "more voxels"
        )
    axes = []
    for n, p in zip(size, patch, strict=True):
        stride = max(1, int(p * (1 - overlap)))
        count = 1 + -(-(n - p) // stride)
        axes.append([round(i * (n - p) / max(1, count - 1)) for i in range(count)])
    return list(product(*axes))


def cut_patches(whole: Tensor, places: Sequence[Place], patch: Sequence[int]) -> Tensor:
    """The patches [N, *lead, *patch] of a tensor [*lead, *size]."""
    return torch.stack([whole[_box(place, patch)] for place in places])


def joined_patches(patches: Tensor, places: Sequence[Place], size: Sequence[int]) -> Tensor:
    """Patches [N, *lead, *patch] put together to [*lead, *size]; differentiable.

    Raises:
        PerrinError: as many places as there are no patches, or voxels that no patch covers.
    """
    if len(patches) != len(places):
        raise PerrinError(f"{len(patches)} patches at {len(places)} places")
    axes = len(size)
    patch, lead = patches.shape[-axes:], patches.shape[1:-axes]
    weights = window(patch).to(patches.device)
    total = weights.new_zeros(*lead, *size)  # float64: many overlapping terms are added
    weight = weights.new_zeros(tuple(size))
    for one, place in zip(patches, places, strict=True):
        box = _box(place, patch)
        total[box] += one * weights
        weight[box] += weights
    if not bool((weight > 0).all()):
        raise PerrinError("the patches leave voxels uncovered; cut them with patch_places")
    return (total / weight).to(patches.dtype)


def window(patch: Sequence[int]) -> Tensor:
    """The smooth weights of one patch, float64 [*patch], above zero everywhere."""
    found = torch.ones((), dtype=torch.float64)
    for n in patch:
        one = torch.sin(torch.pi * (torch.arange(n, dtype=torch.float64) + 0.5) / n) ** 2
        found = found[..., None] * one
    return found


def _box(place: Place, patch: Sequence[int]) -> tuple[EllipsisType | slice, ...]:
    return (..., *(slice(b, b + n) for b, n in zip(place, patch, strict=True)))


def _by(size: Sequence[int]) -> str:
    return "x".join(str(n) for n in size)
