"""What a forecaster and a method of making one promise; and what all of them do about missing values."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Protocol, TypeAlias

import numpy as np

from perrin.errors import PerrinError

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (done, in all)."""


class Forecaster(Protocol):
    """Anything that answers with futures: a simple method, or a model behind a function."""

    def __call__(self, history: np.ndarray, horizon: int, paths: int, seed: int) -> np.ndarray:
        """Sample paths `[paths, C, horizon]`, a function of the history and the seed alone.

        Args:
            history: [C, t], everything from the first row of the data to now, NaN where a value is missing: its length
                says when now is.
        """
        ...


class Method(Protocol):
    """A way to make a forecaster of training data `[C, t]`; `season`: steps of the main cycle, 1 for none."""

    @classmethod
    def fit(cls, training: np.ndarray, season: int, progress: Progress | None = None) -> Forecaster: ...


def carried_forward(history: np.ndarray, season: int = 1) -> np.ndarray:
    """Missing values [C, t] become those of a season before, those at the beginning the first that is known.

    Raises:
        PerrinError: nothing there, or a column without any value.
    """
    filled = np.array(history, np.float64)
    if filled.ndim != 2 or not filled.size:
        raise PerrinError(f"history has shape {np.shape(history)}; [columns, steps] is needed, neither empty")
    for column, row in enumerate(filled):
        known = np.flatnonzero(~np.isnan(row))
        if not len(known):
            raise PerrinError(f"column {column} of the history has no value")
        for at in np.flatnonzero(np.isnan(row)):  # in order, so that a long gap repeats the season before it
            row[at] = row[at - season] if at >= season else row[known[0]]
    return filled


def shared_season(history: np.ndarray, season: int) -> int:
    """The season, or 1 where the history does not hold two of them."""
    if season < 1:
        raise PerrinError(f"season = {season} steps; 1 is for none")
    return season if history.shape[1] >= 2 * season else 1


def need_statsmodels(what: str) -> None:
    """Refuse where the library is not installed."""
    if find_spec("statsmodels") is None:
        raise PerrinError(f"{what} needs statsmodels: pip install 'perrin[series]'")
