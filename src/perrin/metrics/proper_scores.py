r"""Proper scores of sample paths: on average the true law scores best, and nothing else does.

    CRPS        E|X - y| - 1/2 E|X - X'|                                   of one number
    energy      E||X - y|| - 1/2 E||X - X'||                               of a window as a whole
    variogram   sum_{i<j} (|y_i - y_j|^p - E|X_i - X_j|^p)^2               of how its numbers hang together

All are estimated without bias from n paths ("fair"): a score does not depend on n on average, so that methods with
different numbers of paths compare. Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation",
2007; Scheuerer and Hamill, "Variogram-based proper scoring rules", 2015; Ferro, "Fair scores for ensembles", 2014.
"""

from __future__ import annotations

import numpy as np

from perrin.metrics.paths import as_forecasts


def crps(paths: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The continuous ranked probability score of every number, in its units.

    Args:
        paths: [W, n, ...] with n >= 2; truth: [W, ...], NaN where it is not known.

    Returns:
        float64 [W, ...], NaN where the truth is.
    """
    drawn, true = as_forecasts(paths, truth, least=2)
    n = drawn.shape[1]
    ordered = np.sort(drawn, axis=1)
    # sum over pairs |x_i - x_j| = sum_k (2 k - n + 1) x_(k), k = 0 .. n - 1
    rank = (2 * np.arange(n) - n + 1).reshape(-1, *[1] * (drawn.ndim - 2))
    spread = (rank * ordered).sum(1) / (n * (n - 1))
    found: np.ndarray = np.abs(drawn - true[:, None]).mean(1) - spread
    return found


def energy_score(paths: np.ndarray, truth: np.ndarray, scale: np.ndarray | None = None) -> np.ndarray:
    """The energy score of every window: CRPS with Euclidean distances between whole windows.

    Args:
        paths: [W, n, C, H]; truth: [W, C, H]; numbers that are not known (NaN) are left out of the distances.
        scale: [C], what a column's values are divided by, so that columns of other units count alike; default 1.

    Returns:
        float64 [W], NaN for a window of which nothing is known.
    """
    drawn, true = _scaled(paths, truth, scale)
    return np.array([_energy(x, y) for x, y in zip(drawn, true, strict=True)])


def variogram_score(
    paths: np.ndarray, truth: np.ndarray, scale: np.ndarray | None = None, p: float = 0.5
) -> np.ndarray:
    """The variogram score of every window, the mean over pairs of its numbers.

    It sees what the energy score is nearly blind to: correlations. Arguments as those of `energy_score`; p is the order.
    """
    drawn, true = _scaled(paths, truth, scale)
    return np.array([_variogram(x, y, p) for x, y in zip(drawn, true, strict=True)])


def _scaled(paths: np.ndarray, truth: np.ndarray, scale: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    drawn, true = as_forecasts(paths, truth, least=2)
    if scale is not None:
        by = np.asarray(scale, np.float64).reshape(-1, *[1] * (true.ndim - 2))
        drawn, true = drawn / by, true / by
    return drawn.reshape(*drawn.shape[:2], -1), true.reshape(len(true), -1)


def _energy(x: np.ndarray, y: np.ndarray) -> float:
    """Of one window: paths [n, D], truth [D]."""
    known = ~np.isnan(y)
    if not known.any():
        return float("nan")
    x, y, n = x[:, known], y[known], len(x)
    apart = sum(float(np.linalg.norm(x[i + 1 :] - x[i], axis=1).sum()) for i in range(n - 1))
    return float(np.linalg.norm(x - y, axis=1).mean()) - apart / (n * (n - 1))


def _variogram(x: np.ndarray, y: np.ndarray, p: float) -> float:
    known = ~np.isnan(y)
    x, y, n = x[:, known], y[known], len(x)
    size = len(y)
    if size < 2:
        return float("nan")
    total = 0.0
    for i in range(size - 1):
        drawn = np.abs(x[:, i + 1 :] - x[:, i : i + 1]) ** p
        gap = np.abs(y[i + 1 :] - y[i]) ** p - drawn.mean(0)
        # the square of a mean of n exceeds that of its expectation by its variance
        total += float((gap**2 - drawn.var(0, ddof=1) / n).sum())
    return total / (size * (size - 1) / 2)
