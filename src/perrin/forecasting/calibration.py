r"""Whether forecasts mean what they say, in words: the histogram of transforms against its band.

    mean - 1/2   where the truth lies: above 0, higher than the paths       12 var - 1   above 0: paths too close together

of probability integral transforms, each with its error over windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from perrin.metrics import Estimate, PitHistogram, mean_over_windows, pit_histogram

BINS = 10
PER_BIN = 8
"""Windows for each bin of a histogram of one number a window."""
CLEAR = 2.0
"""Standard errors beyond which a deviation is named."""


@dataclass(frozen=True)
class Calibration:
    """A histogram of transforms [W, ...], and what it says.

    Attributes:
        shift: mean - 1/2, and excess: 12 var - 1, both 0 where all is well.
    """

    histogram: PitHistogram
    shift: Estimate
    excess: Estimate

    @property
    def out(self) -> list[int]:
        """Bins whose band does not hold the height 1."""
        low, high = self.histogram.lower, self.histogram.upper
        return np.flatnonzero((low > 1) | (high < 1)).tolist()

    def facts(self) -> dict[str, Any]:
        """JSON-able."""
        own = self.histogram
        return {
            "heights": own.heights.tolist(), "lower": own.lower.tolist(), "upper": own.upper.tolist(),
            "flat": own.flat, "shift": list(self.shift), "excess": list(self.excess),
        }  # fmt: skip


def calibration(values: np.ndarray, bins: int | None = None) -> Calibration:
    """Of transforms [W, ...] in (0, 1), windows independent; NaN where nothing is known.

    Args:
        bins: 10 by default, and of one number a window as many as windows allow, 4 at least.
    """
    flat = np.asarray(values, np.float64).reshape(len(values), -1)
    flat = flat[~np.isnan(flat).all(1)]
    several = flat.shape[1] > 1
    count = bins or (BINS if several else int(np.clip(len(flat) // PER_BIN, 4, BINS)))
    histogram = pit_histogram(flat, count)
    shift = mean_over_windows(np.nanmean(flat, 1) - 0.5)
    excess = mean_over_windows(12 * np.nanmean((flat - 0.5) ** 2, 1) - 1)
    return Calibration(histogram, shift, excess)


def in_words(found: Calibration, what: str = "values") -> str:
    """Whether the histogram is flat within its band, or how it is not.

    Args:
        what: "values", ranks of true values among paths, or "densities", ranks of their log-density.
    """
    reasons = _reasons(found, what)
    bins = len(found.histogram.heights)
    if found.histogram.flat:
        tail = f"; beyond two standard errors all the same: {', '.join(reasons)}" if reasons else ""
        return f"flat within the 95 % band of {bins} bins{tail}"
    edges = ", ".join(
        f"{i / bins:.2g} to {(i + 1) / bins:.2g} ({found.histogram.heights[i]:.2f} of 1)" for i in found.out
    )
    why = ", ".join(reasons) or "no tilt and no spread that stands out"
    return f"not flat: the 95 % band leaves 1 out from {edges}; {why}"


def _reasons(found: Calibration, what: str) -> list[str]:
    """Deviations that stand out of their errors."""
    shift, excess = found.shift, found.excess
    tilted, spread = abs(shift.value) > CLEAR * shift.stderr, abs(excess.value) > CLEAR * excess.stderr
    if what == "densities":
        low = "what came true is less likely under the model than its own paths (they vary too little)"
        high = "what came true is more likely under the model than its own paths (they vary too much)"
        both = "some windows are far less likely than the model's own paths, others far more"
        if tilted:
            return [low if shift.value < 0 else high]
        return [both] if spread and excess.value > 0 else []
    reasons = []
    if spread:
        narrow = "paths lie too close together: the truth is beyond them too often"
        wide = "paths lie too far apart: the truth is among the middle ones too often"
        reasons.append(narrow if excess.value > 0 else wide)
    if tilted:
        reasons.append(f"paths are too {'low' if shift.value > 0 else 'high'}")
    return reasons
