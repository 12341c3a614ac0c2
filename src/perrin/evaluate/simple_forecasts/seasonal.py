r"""Seasonal naive: as a season ago; with the errors that this made before as a bootstrap.

    mean   y_{t + h} = y_{t + h - m k},  k = ceil(h / m)
    path   mean + (y_{s + 1 .. s + H} - its own seasonal naive forecast made at s)

The origin s of a path's errors is drawn from those of the same phase of the season (s = t mod m) where there are thirty,
and is the same for all columns: errors keep their law, their course over the horizon and their correlations.
Hyndman and Athanasopoulos, "Forecasting: principles and practice", 3rd edition, sections 5.2 and 5.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from perrin.errors import PerrinError
from perrin.evaluate.simple_forecasts.promises import Progress, carried_forward, shared_season

FEWEST = 30


@dataclass(frozen=True)
class SeasonalNaive:
    """Every path is the last season again."""

    season: int

    @classmethod
    def fit(cls, training: np.ndarray, season: int, progress: Progress | None = None) -> Self:
        """Nothing is measured."""
        return cls(season)

    def __call__(self, history: np.ndarray, horizon: int, paths: int, seed: int) -> np.ndarray:
        """Equal paths [paths, C, horizon]."""
        m = shared_season(history, self.season)
        return np.repeat(_repeated(carried_forward(history, m), m, horizon)[None], paths, axis=0)


@dataclass(frozen=True)
class SeasonalBootstrap:
    """The last season again, with errors of the past."""

    season: int

    @classmethod
    def fit(cls, training: np.ndarray, season: int, progress: Progress | None = None) -> Self:
        """Nothing is measured: errors are those of the history."""
        return cls(season)

    def __call__(self, history: np.ndarray, horizon: int, paths: int, seed: int) -> np.ndarray:
        """Paths [paths, C, horizon].

        Raises:
            PerrinError: a history that is not longer than a season and the horizon.
        """
        m = shared_season(history, self.season)
        filled = carried_forward(history, m)
        t = filled.shape[1]
        if t - horizon < m:
            raise PerrinError(
                f"a history of {t} steps holds no errors of forecasts of {horizon} steps; it takes {m + horizon}"
            )
        now = np.arange(m, t - horizon + 1)
        alike = now[(t - now) % m == 0]
        origins = alike if len(alike) >= FEWEST else now
        drawn = np.random.Generator(np.random.PCG64(seed)).choice(origins, paths)
        ahead = np.arange(horizon)
        errors = filled[:, drawn[:, None] + ahead] - filled[:, drawn[:, None] + _back(m, horizon)]
        return _repeated(filled, m, horizon) + errors.transpose(1, 0, 2)


def _back(m: int, horizon: int) -> np.ndarray:
    """Where the last season lies, relative to the first step ahead: -m .. -1, again and again."""
    found: np.ndarray = np.arange(horizon) % m - m
    return found


def _repeated(filled: np.ndarray, m: int, horizon: int) -> np.ndarray:
    found: np.ndarray = filled[:, filled.shape[1] + _back(m, horizon)]
    return found
