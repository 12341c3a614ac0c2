r"""Location and scale of a window, of what is observed in it alone, so that nothing leaks from what is to be drawn.

    location = median,   scale^2 = (n s^2 + k g^2) / (n + k),   s = sqrt(pi / 2) mean |x - median|

n values are observed and g is the training data's scale, which counts as k = 4 of them: a window that hardly moves, or
of which little is known, still has a scale. Where nothing is observed both are the training data's. Of columns that are
capped no value counts as further out than CAP times the median of |x - median|: a single wild step of a walk, a price below
zero and back, must not make the next three months look as wild.
"""

from __future__ import annotations

import numpy as np

PSEUDO = 4
CAP = 8.0


def location_scale(
    x: np.ndarray,
    observed: np.ndarray,
    location: np.ndarray,
    scale: np.ndarray,
    capped: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """`[..., C]` each, of `x` [..., C, T] where `observed`; `location` and `scale` [C] are the training data's.

    `capped`: bool [C], see above; none by default.
    """
    n = observed.sum(-1)
    middle = np.where(n > 0, median(x, observed), location)
    away = np.where(observed, np.abs(np.where(observed, x, 0) - middle[..., None]), 0)
    if capped is not None and capped.any():
        limit = CAP * median(away, observed)
        limit = np.where(capped & (limit > 0), limit, np.inf)  # more than half of the steps may be none
        away = np.minimum(away, limit[..., None])
    spread = np.sqrt(np.pi / 2) * away.sum(-1) / np.maximum(n, 1)
    return middle, np.sqrt((n * spread**2 + PSEUDO * scale**2) / (n + PSEUDO))


def median(x: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """The median over the last axis of what is observed; 0 where nothing is. Faster than NumPy's with NaN."""
    n = observed.sum(-1, keepdims=True)
    ordered = np.sort(np.where(observed, x, np.inf), axis=-1)
    low, high = np.maximum((n - 1) // 2, 0), np.maximum(n // 2, 0)
    both = np.take_along_axis(ordered, np.minimum(np.concatenate([low, high], -1), x.shape[-1] - 1), -1)
    return np.where(n[..., 0] > 0, np.where(np.isfinite(both), both, 0).mean(-1), 0.0)
