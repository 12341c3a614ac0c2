r"""A linear Gaussian state-space model with known parameters, of which the Kalman filter knows every forecast exactly.

    s_{t+1} = F s_t + w_t,  w ~ N(0, Q),      y_t = H s_t + v_t,  v ~ N(0, R),      s_0 from the stationary law

Harvey, "Forecasting, structural time series models and the Kalman filter", 1989. The filter is statsmodels'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_discrete_lyapunov
from statsmodels.tsa.statespace.kalman_filter import KalmanFilter


class Filtered(NamedTuple):
    """Of every row given those before it: mean [C, T], covariance [T, C, C] and log-density [T]."""

    mean: np.ndarray
    covariance: np.ndarray
    log_prob: np.ndarray


@dataclass(frozen=True)
class StateSpace:
    """`transition` F [k, k] with eigenvalues within the circle, `shock` Q [k, k], `design` H [C, k], `noise` R [C, C]."""

    transition: np.ndarray
    shock: np.ndarray
    design: np.ndarray
    noise: np.ndarray

    @property
    def stationary(self) -> np.ndarray:
        """The covariance of the state, [k, k]."""
        found: np.ndarray = solve_discrete_lyapunov(self.transition, self.shock)
        return found

    def simulated(self, rows: int, seed: int) -> np.ndarray:
        """A series [C, rows]."""
        generator = np.random.default_rng(seed)
        roots = [np.linalg.cholesky(c) for c in (self.stationary, self.shock, self.noise)]
        state, found = roots[0] @ generator.normal(size=len(self.transition)), []
        for _ in range(rows):
            found.append(self.design @ state + roots[2] @ generator.normal(size=len(self.design)))
            state = self.transition @ state + roots[1] @ generator.normal(size=len(state))
        return np.stack(found, 1)

    def covariance(self, rows: int) -> np.ndarray:
        """Of all values of a window [C, rows], flattened in that order; their mean is zero."""
        size, found = len(self.design), np.empty((len(self.design), rows, len(self.design), rows))
        lagged = self.stationary
        for lag in range(rows):
            block = self.design @ lagged @ self.design.T + (
                self.noise if lag == 0 else 0
            )  # cov(y_{t+lag}, y_t)
            for t in range(rows - lag):
                found[:, t + lag, :, t], found[:, t, :, t + lag] = block, block.T
            lagged = self.transition @ lagged
        return found.reshape(size * rows, size * rows)

    def filtered(self, values: np.ndarray) -> Filtered:
        """The Kalman filter along a window [C, T] that begins in the stationary law; NaN where a value is missing."""
        kalman = KalmanFilter(len(values), len(self.transition))
        kalman["design"], kalman["obs_cov"] = self.design, self.noise
        kalman["transition"], kalman["state_cov"] = self.transition, self.shock
        kalman["selection"] = np.eye(len(self.transition))
        kalman.initialize_known(np.zeros(len(self.transition)), self.stationary)
        kalman.bind(np.ascontiguousarray(values.T))
        found = kalman.filter()
        return Filtered(found.forecasts, np.moveaxis(found.forecasts_error_cov, -1, 0), found.llf_obs)


def cycle_and_factor() -> StateSpace:
    """Two columns of a slow cycle of 12 rows that fades and a factor that both share."""
    turn, fade = 2 * np.pi / 12, 0.97
    transition = np.zeros((3, 3))
    transition[:2, :2] = fade * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    transition[2, 2] = 0.8
    design = np.array([[1.0, 0.0, 1.0], [0.5, 0.8, -0.7]])
    return StateSpace(transition, np.diag([0.06, 0.06, 0.2]), design, np.diag([0.05, 0.1]))
