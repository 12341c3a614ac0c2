r"""A step of dy/dlevel = f(y, level) by the Runge-Kutta pair 5(4) of Dormand and Prince (1980).

    k_i = f(y + h sum_j a_ij k_j, level + c_i h),   y' = y + h sum_i b_i k_i,   error = h sum_i e_i k_i

The last slope of a step is the first of the next.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor, Tensor], Tensor]
"""f(y [b, n], level [b], items [b]) -> [b, n]: `items` says which of the batch the rows are."""

A = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (
        35 / 384,
        0.0,
        500 / 1113,
        125 / 192,
        -2187 / 6784,
        11 / 84,
    ),  # b as well: the last stage is the new state
)
C = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
E = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
STAGES = len(A)


def step(
    field: Field, y: Tensor, level: Tensor, h: Tensor, slope: Tensor, items: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One step: (new y, its slope, error of y), all [b, n]; level and h are [b], `slope` is f(y, level)."""
    slopes, width, new = [slope], h[:, None], y
    for row, c in zip(A, C, strict=True):
        new = y + width * _combine(row, slopes)
        slopes.append(field(new, level + c * h, items))
    return new, slopes[-1], width * _combine(E, slopes)


def _combine(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    total = torch.zeros_like(slopes[0])
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            total = total + weight * slope
    return total
