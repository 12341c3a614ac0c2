r"""The weighted quantile loss: how good forecast quantiles are, relative to the size of what they forecast.

    rho_q(y, z) = 2 (y - z) (q - [y < z])
    loss = mean over columns of  sum_{windows, steps} mean_q rho_q(y, z_q) / sum_{windows, steps} |y|

With every level it is the CRPS, which is the integral of `rho_q` over q: the factor 2 is what makes it so.
Koenker and Bassett, "Regression quantiles", 1978; Salinas et al., "DeepAR", 2020 (the relative form).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perrin.errors import PerrinError
from perrin.metrics.over_windows import Estimate, relative_to_size
from perrin.metrics.paths import as_forecasts, path_quantiles

LEVELS = tuple(round(0.1 * i, 1) for i in range(1, 10))


def quantile_loss(quantiles: np.ndarray, truth: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """`rho_q` of quantiles `[L, ...]` at the levels `[L]` and truth `[...]`: `[L, ...]`, in the truth's units."""
    at = np.asarray(levels, np.float64)
    if at.ndim != 1 or not ((at > 0) & (at < 1)).all() or quantiles.shape != (len(at), *truth.shape):
        raise PerrinError(
            f"quantiles {quantiles.shape} of truth {truth.shape} at levels {list(levels)} in (0, 1)"
        )
    q = at.reshape(-1, *[1] * truth.ndim)
    found: np.ndarray = 2 * (truth - quantiles) * (q - (truth < quantiles))
    return found


def weighted_quantile_loss(
    paths: np.ndarray, truth: np.ndarray, levels: Sequence[float] = LEVELS
) -> Estimate:
    """The weighted quantile loss of paths and its standard error over windows; without a unit.

    Args:
        paths: [W, n, C, H]; truth: [W, C, H], NaN where it is not known; levels: of the quantiles.

    Raises:
        PerrinError: shapes that do not match, or a column that is zero everywhere.
    """
    drawn, true = as_forecasts(paths, truth)
    losses = quantile_loss(path_quantiles(drawn, np.asarray(levels)), true, levels).mean(0)
    return relative_to_size(np.nansum(losses, -1), np.nansum(np.abs(true), -1))
