r"""Calibration and sharpness of sample paths: do forecasts mean what they say, and how much do they say?

    coverage   the share of true values inside the central interval of a level; right when it equals the level
    PIT        (rank of the truth among n paths + u) / (n + 1), u ~ U(0, 1): uniform when truth and paths have one law
    sharpness  the mean width of the central interval: of two calibrated forecasts the narrower is better

Both statements hold exactly for any n, since truth and paths are then exchangeable. Values within a window hang together,
so every error is over windows. Gneiting, Balabdaoui and Raftery, "Probabilistic forecasts, calibration and
sharpness", 2007.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from perrin.errors import PerrinError
from perrin.metrics.over_windows import Estimate, relative_to_size
from perrin.metrics.paths import as_forecasts, path_quantiles


class PitHistogram(NamedTuple):
    """Densities of the bins of (0, 1), 1 where all is well, with a band that holds all of them at once.

    Attributes:
        heights, lower, upper: [bins], float64.
        flat: whether the band holds the height 1 everywhere.
    """

    heights: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    flat: bool


def central_interval(paths: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Both ends, `[W, ...]` each, of the central interval that holds a share `level` of the law of paths [W, n, ...]."""
    if not 0 < level < 1:
        raise PerrinError(f"level = {level} must lie between 0 and 1, such as 0.8")
    low, high = path_quantiles(paths, np.array([(1 - level) / 2, (1 + level) / 2]))
    return low, high


def interval_coverage(paths: np.ndarray, truth: np.ndarray, level: float = 0.8) -> Estimate:
    """The share of known true values `[W, ...]` inside the central interval of paths `[W, n, ...]`."""
    drawn, true = as_forecasts(paths, truth)
    low, high = central_interval(drawn, level)
    known = ~np.isnan(true)
    inside = known & (low <= true) & (true <= high)
    flat = (inside.reshape(len(true), -1).sum(1), known.reshape(len(true), -1).sum(1))
    return relative_to_size(flat[0][:, None], flat[1][:, None])


def sharpness(paths: np.ndarray, truth: np.ndarray, level: float = 0.8) -> Estimate:
    """The width of central intervals relative to the size of what is forecast, the mean over columns.

    Args:
        paths: [W, n, C, H]; truth: [W, C, H], NaN where it is not known.
    """
    drawn, true = as_forecasts(paths, truth)
    low, high = central_interval(drawn, level)
    width = np.where(np.isnan(true), 0, high - low)
    return relative_to_size(width.sum(-1), np.nansum(np.abs(true), -1))


def pit(paths: np.ndarray, truth: np.ndarray, seed: int = 0) -> np.ndarray:
    """Probability integral transforms in (0, 1), `[W, ...]`, NaN where the truth is; ties are broken by chance.

    Args:
        paths: [W, n, ...]; truth: [W, ...]; seed: of the chance.
    """
    drawn, true = as_forecasts(paths, truth)
    generator = np.random.Generator(np.random.PCG64(seed))
    below, same = (drawn < true[:, None]).sum(1), (drawn == true[:, None]).sum(1)
    rank = below + np.floor(generator.random(true.shape) * (same + 1))
    found: np.ndarray = (rank + generator.random(true.shape)) / (drawn.shape[1] + 1)
    return np.where(np.isnan(true), np.nan, found)


def pit_histogram(
    values: np.ndarray, bins: int = 10, level: float = 0.95, times: int = 1_000, seed: int = 0
) -> PitHistogram:
    """The histogram of transforms [W, ...] in (0, 1), with a band from resampled windows.

    The band is as wide as the largest deviation of any bin over the windows drawn with replacement, at a share `level` of
    the draws: with that probability it holds the true heights of all bins at once.
    """
    flat = np.asarray(values, np.float64).reshape(len(values), -1)
    if len(flat) < 2 or np.isnan(flat).all():
        raise PerrinError(f"{len(flat)} windows: a band needs two or more with known values")
    if not (np.isnan(flat) | ((flat >= 0) & (flat <= 1))).all():
        raise PerrinError("probability integral transforms lie between 0 and 1")
    place = np.minimum((np.nan_to_num(flat) * bins).astype(np.int64), bins - 1)
    counts = np.stack([((place == b) & ~np.isnan(flat)).sum(1) for b in range(bins)], 1).astype(np.float64)
    heights = _heights(counts.sum(0))
    generator = np.random.Generator(np.random.PCG64(seed))
    weights = generator.multinomial(len(flat), np.full(len(flat), 1 / len(flat)), size=times)
    drawn = _heights(weights @ counts)
    half = float(np.quantile(np.abs(drawn - heights).max(1), level))
    lower, upper = heights - half, heights + half
    return PitHistogram(heights, lower, upper, bool(((lower <= 1) & (upper >= 1)).all()))


def _heights(counts: np.ndarray) -> np.ndarray:
    """Densities of bins of equal width: their mean is 1."""
    found: np.ndarray = counts / counts.mean(-1, keepdims=True)
    return found
