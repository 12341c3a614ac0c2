r"""Means over the windows of a backtest, with standard errors: windows are independent, what is in one is not.

    mean      m = sum_w v_w / W                                              stderr = sd(v) / sqrt(W)
    relative  r = mean_c R_c,  R_c = sum_w total_wc / sum_w size_wc          by linearising every R_c

The error of a ratio is that of `mean_c (total_wc - R_c size_wc) / mean_w size_wc` (Cochran, "Sampling techniques", 1977,
section 6.4), which keeps the columns of one window together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from perrin.errors import PerrinError


class Estimate(NamedTuple):
    """A figure and its standard error; NaN for one window, whose error is not known."""

    value: float
    stderr: float


def mean_over_windows(values: np.ndarray) -> Estimate:
    """The mean of one number per window, `[W]`; windows without a value (NaN) are left out."""
    known = np.asarray(values, np.float64).ravel()
    known = known[~np.isnan(known)]
    if not len(known):
        raise PerrinError("no window has a value")
    return Estimate(float(known.mean()), _stderr(known))


def relative_to_size(total: np.ndarray, size: np.ndarray) -> Estimate:
    """Sums over sums, column by column, then their mean: `total` and `size` are `[W, C]`, in the columns' units.

    Raises:
        PerrinError: a column whose size is zero everywhere, which nothing can be relative to.
    """
    total, size = np.asarray(total, np.float64), np.asarray(size, np.float64)
    if total.shape != size.shape or total.ndim != 2 or not total.size:
        raise PerrinError(f"totals {total.shape} and sizes {size.shape} must both be [windows, columns]")
    sums = size.sum(0)
    if (sums == 0).any():
        column = int(np.flatnonzero(sums == 0)[0])
        raise PerrinError(f"column {column} is zero in every window: nothing can be relative to its size")
    ratios = total.sum(0) / sums
    influence = ((total - ratios * size) / (sums / len(size))).mean(1)
    return Estimate(float(ratios.mean()), _stderr(influence))


def _stderr(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")
