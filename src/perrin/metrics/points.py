"""One way in for every measure: anything array-like becomes a checked tensor of points `[N, D]`."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from perrin.errors import PerrinError

Points: TypeAlias = Tensor | np.ndarray


def as_points(
    values: Points, name: str, *, least: int = 1, dtype: torch.dtype | None = torch.float64
) -> Tensor:
    """`values` `[N, ...]` as a tensor `[N, D]` on the CPU.

    A `dtype` of None keeps float64 and makes everything else float32.

    Raises:
        PerrinError: fewer than `least` points, or a value that is not finite (the first bad item is named).
    """
    points = torch.as_tensor(values).detach()
    kept = torch.float64 if points.dtype == torch.float64 else torch.float32
    points = points.to("cpu", dtype or kept)
    if points.ndim == 0 or len(points) < least:
        count = 0 if points.ndim == 0 else len(points)
        raise PerrinError(f"{name}: {count} items, at least {least} are needed")
    points = points.reshape(len(points), -1)
    good = torch.isfinite(points).all(1)
    if not bool(good.all()):
        raise PerrinError(f"{name}: item {int((~good).nonzero()[0])} holds NaN or infinity")
    return points


def as_pair(
    generated: Points, real: Points, *, least: int = 1, dtype: torch.dtype | None = torch.float64
) -> tuple[Tensor, Tensor]:
    """Both sets through `as_points`; refuses sets of different dimension.

    Raises:
        PerrinError: as `as_points`, or when the two sets have points of different size.
    """
    a = as_points(generated, "generated", least=least, dtype=dtype)
    b = as_points(real, "real", least=least, dtype=dtype)
    if a.shape[1] != b.shape[1]:
        raise PerrinError(f"generated points have {a.shape[1]} numbers each and real ones {b.shape[1]}")
    common = torch.promote_types(a.dtype, b.dtype)
    return a.to(common), b.to(common)
