"""Shares and ratios of sums over independent items, each with its standard error."""

from __future__ import annotations

import numpy as np


def ratio(total: np.ndarray, size: np.ndarray) -> tuple[float, float | None]:
    """sum(total) / sum(size) over independent items, and its standard error (the linearised ratio estimator).

    With `size` all ones it is a mean with its usual error. The error of a single item is not known: None.
    """
    value = float(total.sum() / size.sum())
    if len(total) < 2:
        return value, None
    rest = total - value * size
    return value, float(np.sqrt((rest**2).sum() / (len(rest) * (len(rest) - 1))) / size.mean())
