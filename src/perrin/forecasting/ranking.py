r"""Which of many futures to look at: the likeliest by its log-density, the furthest out by the paths' own ranks.

    s_ict = Phi^-1((rank_ict - 1/2) / n)        normal score of path i in column c at step t among the n paths
    height_ic = mean_t s_ict                    how high path i runs in column c: highest and lowest
    extremity_i = mean_ct s_ict^2               how far out it is in all columns and steps, either way

Ranks have no units and know no distribution, so that a column of large numbers does not decide alone. Normal (van der
Waerden) scores make a step at the edge of the fan count for more than several in its middle.
"""

from __future__ import annotations

import numpy as np


def normal_scores(paths: np.ndarray) -> np.ndarray:
    """Scores [n, C, H] of paths [n, C, H]; equal values share their mean rank."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    scores: np.ndarray = ndtri((rankdata(paths, axis=0) - 0.5) / len(paths))
    return scores


def height(paths: np.ndarray, column: int) -> np.ndarray:
    """How high every path [n, C, H] runs in a column: [n], the mean of its normal scores."""
    found: np.ndarray = normal_scores(paths[:, column : column + 1]).mean((1, 2))
    return found


def extremity(paths: np.ndarray) -> np.ndarray:
    """How far out every path [n, C, H] is: [n], the mean square of its normal scores over columns and steps."""
    found: np.ndarray = (normal_scores(paths) ** 2).mean((1, 2))
    return found


def share(holds: np.ndarray) -> tuple[float, float]:
    r"""The share of paths [n] of which something holds, and its standard error.

    The error is `sqrt(q (1 - q) / n)` with `q = (k + 1/2) / (n + 1)` of k in n paths (Jeffreys), not with the share
    itself: where no path or every path does it, the truth is still not known exactly.
    """
    n, k = len(holds), int(holds.sum())
    q = (k + 0.5) / (n + 1)
    return k / n, float(np.sqrt(q * (1 - q) / n))
