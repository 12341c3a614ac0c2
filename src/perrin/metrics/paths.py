"""One way in for every measure of forecasts: sample paths `[W, n, ...]` and what came true `[W, ...]`."""

from __future__ import annotations

import numpy as np

from perrin.errors import PerrinError


def as_forecasts(paths: np.ndarray, truth: np.ndarray, least: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64.

    Args:
        paths: [W, n, ...], n paths of each of W windows; truth: [W, ...], NaN where it is not known.

    Raises:
        PerrinError: shapes that do not match, fewer than `least` paths, or a path that is not finite.
    """
    drawn, true = np.asarray(paths, np.float64), np.asarray(truth, np.float64)
    if drawn.ndim < 2 or drawn.shape[:1] + drawn.shape[2:] != true.shape:
        raise PerrinError(f"paths {drawn.shape} and truth {true.shape} must be [W, n, ...] and [W, ...]")
    if drawn.shape[1] < least:
        raise PerrinError(f"{drawn.shape[1]} paths a window; at least {least} are needed")
    if not np.isfinite(drawn).all():
        window, path = (int(i[0]) for i in np.nonzero(~np.isfinite(drawn))[:2])
        raise PerrinError(f"path {path} of window {window} holds NaN or infinity")
    return drawn, true


def path_quantiles(paths: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Quantiles [L, W, ...] of paths [W, n, ...].

    Weibull's, at rank p (n + 1): a value of the same law falls below with probability p, however few paths there are.
    """
    return np.quantile(paths, levels, axis=1, method="weibull")
