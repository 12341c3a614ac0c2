r"""Exponential smoothing in its state-space form (ETS), chosen by AIC and fitted once per column.

    y_t = l + phi b + s_{t - m} + e_t,   l' = l + phi b + alpha e,   b' = phi b + beta e,   s' = s_{t - m} + gamma e

with additive errors N(0, sigma^2); without trend or season where those terms are dropped. A forecast runs the recursion
over the history's last rows with the parameters of the training part and goes on with drawn errors. Hyndman, Koehler,
Ord and Snyder, "Forecasting with exponential smoothing", 2008. statsmodels fits and filters.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from perrin.evaluate.simple_forecasts.promises import (
    Progress,
    carried_forward,
    need_statsmodels,
    shared_season,
)

MEMORY = 2_000
"""Rows of the training part that are fitted, and of the history that are filtered."""


@dataclass(frozen=True)
class Smoother:
    """One column's model: statsmodels' options, its parameters by name, and the deviation of its errors."""

    options: dict[str, Any]
    parameters: dict[str, float]
    sigma: float

    def paths(self, history: np.ndarray, horizon: int, noise: np.ndarray) -> np.ndarray:
        """Paths [n, horizon] from a history [t] and standard normals [n, horizon]."""
        names = ("smoothing_level", "smoothing_trend", "smoothing_seasonal", "damping_trend")
        alpha, beta, gamma, phi = (self.parameters.get(name, 0.0) for name in names)
        phi = phi or 1.0
        result = _model(history[-MEMORY:], self.options).smooth(np.array(list(self.parameters.values())))
        count, m = len(noise), int(self.options.get("seasonal_periods") or 1)
        level = np.full(count, result.level[-1])
        slope = np.full(count, result.slope[-1] if self.options["trend"] else 0.0)
        seasonal = self.options["seasonal"] is not None
        season = np.tile(np.asarray(result.season)[-m:] if seasonal else np.zeros(m), (count, 1))
        found = np.empty((count, horizon))
        for h in range(horizon):
            error, at = self.sigma * noise[:, h], h % m
            found[:, h] = level + phi * slope + season[:, at] + error
            level = level + phi * slope + alpha * error
            slope = phi * slope + beta * error
            season[:, at] += gamma * error
        return found


@dataclass(frozen=True)
class Ets:
    """A smoother for every column; None for a column that does not move, which stays where it is."""

    columns: list[Smoother | None]

    @classmethod
    def fit(cls, training: np.ndarray, season: int, progress: Progress | None = None) -> Self:
        """Choose by AIC among level, trend, damped trend, each with and without a season."""
        need_statsmodels("ETS")
        filled = carried_forward(training, shared_season(training, season))[:, -MEMORY:]
        m, found = shared_season(filled, season), list[Smoother | None]()
        for column in filled:
            found.append(_chosen(column, m) if np.ptp(column) else None)
            if progress is not None:
                progress(len(found), len(filled))
        return cls(found)

    def __call__(self, history: np.ndarray, horizon: int, paths: int, seed: int) -> np.ndarray:
        """Paths [paths, C, horizon], columns independent of one another."""
        filled = carried_forward(history)
        noise = np.random.Generator(np.random.PCG64(seed)).normal(size=(len(filled), paths, horizon))
        each = [
            np.full((paths, horizon), row[-1]) if own is None else own.paths(row, horizon, z)
            for own, row, z in zip(self.columns, filled, noise, strict=True)
        ]
        return np.stack(each, axis=1)


def _model(values: np.ndarray, options: dict[str, Any]) -> Any:
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    return ETSModel(values, error="add", initialization_method="heuristic", **options)


def _chosen(values: np.ndarray, m: int) -> Smoother:
    best: tuple[float, Smoother] | None = None
    for seasonal in ("add", None) if m > 1 else (None,):
        for trend, damped in ((None, False), ("add", True), ("add", False)):
            options: dict[str, Any] = {"trend": trend, "damped_trend": damped, "seasonal": seasonal}
            if seasonal:
                options["seasonal_periods"] = m
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of optimisers that stop early: the best likelihood counts
                result = _model(values, options).fit(disp=0)
            if best is None or result.aic < best[0]:
                named = dict(zip(result.param_names, np.asarray(result.params).tolist(), strict=True))
                best = result.aic, Smoother(options, named, float(np.sqrt(result.mse)))
    assert best is not None
    return best[1]
