r"""Random walks with drift: Gaussian steps, or steps drawn from those of the past.

    y_{t + h} = y_t + sum of h steps,   step ~ N(mean, covariance) of the history's steps, or one of them

Columns step together. The mean of a Gaussian walk is uncertain by covariance / (t - 1), which paths share: it is what
makes the variance `h (1 + h / (t - 1))` times a step's (Hyndman and Athanasopoulos, section 5.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from perrin.errors import PerrinError
from perrin.evaluate.simple_forecasts.promises import Progress, carried_forward


@dataclass(frozen=True)
class RandomWalk:
    """Gaussian steps with drift."""

    @classmethod
    def fit(cls, training: np.ndarray, season: int, progress: Progress | None = None) -> Self:
        """Nothing is measured: steps are those of the history."""
        return cls()

    def __call__(self, history: np.ndarray, horizon: int, paths: int, seed: int) -> np.ndarray:
        """Paths [paths, C, horizon]."""
        last, steps = _steps(history)
        count = steps.shape[1]
        centred = steps - steps.mean(1, keepdims=True)
        # an eigen root, since columns that move together have a singular covariance
        values, vectors = np.linalg.eigh(centred @ centred.T / max(count - 1, 1))
        root = vectors * np.sqrt(np.clip(values, 0, None))
        generator = np.random.Generator(np.random.PCG64(seed))
        drift = steps.mean(1) + generator.normal(size=(paths, len(steps))) @ root.T / np.sqrt(count)
        noise = generator.normal(size=(paths, horizon, len(steps))) @ root.T
        found: np.ndarray = last[:, None] + np.cumsum(drift[:, None] + noise, axis=1).transpose(0, 2, 1)
        return found


@dataclass(frozen=True)
class BootstrapWalk:
    """Steps drawn from the history's own, all columns' at once."""

    @classmethod
    def fit(cls, training: np.ndarray, season: int, progress: Progress | None = None) -> Self:
        """Nothing is measured: steps are those of the history."""
        return cls()

    def __call__(self, history: np.ndarray, horizon: int, paths: int, seed: int) -> np.ndarray:
        """Paths [paths, C, horizon]."""
        last, steps = _steps(history)
        drawn = np.random.Generator(np.random.PCG64(seed)).integers(steps.shape[1], size=(paths, horizon))
        found: np.ndarray = last[:, None] + np.cumsum(steps[:, drawn], axis=2).transpose(1, 0, 2)
        return found


def _steps(history: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last values [C] and all steps [C, t - 1]."""
    filled = carried_forward(history)
    if filled.shape[1] < 2:
        raise PerrinError("a history of one step has no steps to walk by")
    return filled[:, -1], np.diff(filled, axis=1)
