r"""ARIMA, chosen by AIC and fitted once per column on the training part, then filtered over every history.

    phi(L) Phi(L^m) (1 - L)^d (1 - L^m)^D y_t = c + theta(L) Theta(L^m) e_t

Orders of different d and D compare, since all are judged by the likelihood of the same rows given those before
them: differencing has a Jacobian of one. A forecast runs the Kalman filter over the history's last rows with the
parameters of the training part and goes on with drawn errors. Box and Jenkins, "Time series analysis", 1970; Durbin and
Koopman, "Time series analysis by state space methods", 2012. statsmodels fits and filters.
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

MEMORY = 1_000
"""Rows of the training part that are fitted, and of the history that are filtered."""
PLAIN = ((1, 0, 0), (2, 0, 1), (0, 1, 0), (0, 1, 1), (1, 1, 1), (2, 1, 2))
SEASONAL = ((1, 0, 0), (2, 0, 1), (0, 1, 1))
"""Orders (p, d, q) that are tried; with a season, times (0, 1, 1) of it."""
ITERATIONS = 25


@dataclass(frozen=True)
class Fitted:
    """One column's model: orders, parameters, and the deviation that values were divided by."""

    order: tuple[int, int, int]
    seasonal: tuple[int, int, int, int]
    parameters: list[float]
    scale: float

    def paths(
        self, history: np.ndarray, horizon: int, paths: int, generator: np.random.Generator
    ) -> np.ndarray:
        """Paths [paths, horizon] from a history [t] with gaps."""
        model = _model(history[-MEMORY:] / self.scale, self.order, self.seasonal)
        model.update(np.array(self.parameters))
        return _continued(model.ssm, horizon, paths, generator) * self.scale


@dataclass(frozen=True)
class Arima:
    """A model for every column; None for a column that does not move, which stays where it is."""

    columns: list[Fitted | None]

    @classmethod
    def fit(cls, training: np.ndarray, season: int, progress: Progress | None = None) -> Self:
        """Choose orders by AIC; gaps are left to the filter."""
        need_statsmodels("ARIMA")
        found = list[Fitted | None]()
        for column in np.asarray(training, np.float64)[:, -MEMORY:]:
            moves = np.nanstd(np.diff(column)) > 0
            found.append(_chosen(column, shared_season(column[None], season)) if moves else None)
            if progress is not None:
                progress(len(found), len(training))
        return cls(found)

    def __call__(self, history: np.ndarray, horizon: int, paths: int, seed: int) -> np.ndarray:
        """Paths [paths, C, horizon], columns independent of one another."""
        generators = np.random.Generator(np.random.PCG64(seed)).spawn(len(history))
        rows = zip(self.columns, history, carried_forward(history), generators, strict=True)
        each = [
            np.full((paths, horizon), filled[-1]) if own is None else own.paths(row, horizon, paths, g)
            for own, row, filled, g in rows
        ]
        return np.stack(each, axis=1)


def _model(
    values: np.ndarray,
    order: tuple[int, int, int],
    seasonal: tuple[int, int, int, int],
    differenced: bool = False,
) -> Any:
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    # differenced beforehand the state is small and fits are quick, but forecasts are of differences
    trend = "c" if order[1] == seasonal[1] == 0 else "n"
    options = {"order": order, "seasonal_order": seasonal, "trend": trend}
    return SARIMAX(values, simple_differencing=differenced, **options)


def _chosen(values: np.ndarray, m: int) -> Fitted:
    scale = float(np.nanstd(np.diff(values)))
    tried = [(order, (0, 0, 0, 0)) for order in PLAIN]
    if m > 1:
        tried = [(order, (0, 1, 1, m)) for order in SEASONAL] + [((2, 0, 1), (0, 0, 0, 0))]
    rows = len(values) - m - 1 - 2 * m  # what every candidate can predict, once it has settled
    best: tuple[float, Fitted] | None = None
    for order, seasonal in tried:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of optimisers that stop early: the best likelihood counts
            model = _model(values / scale, order, seasonal, differenced=True)
            result = model.fit(disp=0, maxiter=ITERATIONS, cov_type="none")
        parameters = np.asarray(result.params)
        criterion = -2 * float(result.llf_obs[-max(rows, 1) :].sum()) + 2 * len(parameters)
        if np.isfinite(criterion) and (best is None or criterion < best[0]):
            best = criterion, Fitted(order, seasonal, parameters.tolist(), scale)
    assert best is not None
    return best[1]


def _continued(ssm: Any, horizon: int, paths: int, generator: np.random.Generator) -> np.ndarray:
    """Draws [paths, horizon] of what comes after the data of a state-space model without observation noise."""
    filtered = ssm.filter()
    mean, covariance = filtered.predicted_state[:, -1], filtered.predicted_state_cov[..., -1]
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    root = vectors * np.sqrt(np.clip(values, 0, None))
    state = mean + generator.normal(size=(paths, len(mean))) @ root.T
    turn, push = (
        _last(ssm, "transition"),
        _last(ssm, "selection") @ np.linalg.cholesky(_last(ssm, "state_cov")),
    )
    see, shift, drift = _last(ssm, "design"), _last(ssm, "obs_intercept"), _last(ssm, "state_intercept")
    found = np.empty((paths, horizon))
    for h in range(horizon):
        found[:, h] = state @ see[0] + shift[0]
        state = state @ turn.T + drift + generator.normal(size=(paths, push.shape[1])) @ push.T
    return found


def _last(ssm: Any, name: str) -> np.ndarray:
    """A matrix of the model at its last row: some are the same at every row, others have a row's axis at the end."""
    found: np.ndarray = getattr(ssm, name)[..., -1]
    return found
