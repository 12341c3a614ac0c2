"""What signals are filled and declipped by without a network: interpolation, autoregression, a Gaussian process.

Autoregression (Janssen, Veldhuis and Vries 1986, "Adaptive interpolation of discrete-time signals that can be modeled as
autoregressive processes"), in turns:

    coefficients a of order p:  R a = r                     of the autocorrelation of the current signal, which is stable
    unknown samples:            min   |A x|^2               A x = the prediction errors, known samples as they are

with unknown samples held beyond their limits where they were clipped.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.optimize import nnls

ORDER, ROUNDS, REACH = 32, 4, 512
"""Of the autoregression, and how many samples on both sides it is fitted to."""


def linear(signal: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """[T] with straight lines where `unknown` [T] is True."""
    at = np.arange(len(signal))
    return np.where(unknown, np.interp(at, at[~unknown], signal[~unknown]), signal)


def smooth(signal: np.ndarray, unknown: np.ndarray, kind: str) -> np.ndarray:
    """[T] with cubics through the known samples, "pchip" without overshoot or "spline" with it."""
    at = np.arange(len(signal))
    made = {"pchip": PchipInterpolator, "spline": CubicSpline}[kind](at[~unknown], signal[~unknown])
    return np.where(unknown, made(at), signal)


def autoregression(
    signal: np.ndarray, unknown: np.ndarray, low: float = -np.inf, high: float = np.inf
) -> np.ndarray:
    """[T] by Janssen's method; clipped samples stay at or beyond the limit that they are at."""
    clipped = np.isfinite(low) or np.isfinite(high)
    found = signal.copy() if clipped else linear(signal, unknown)
    ends = _limits(signal, unknown, low, high)
    for start, stop in _stretches(unknown):
        part = slice(max(0, start - REACH), min(len(signal), stop + REACH))
        inside = (
            unknown[part]
            & (np.arange(part.start, part.stop) >= start)
            & (np.arange(part.start, part.stop) < stop)
        )
        found[part] = _janssen(found[part], inside, ends[0][part], ends[1][part])
    return found


def gaussian(
    signal: np.ndarray, unknown: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(mean, standard deviation) [T] of a Gaussian process [T, T] given the known samples, exactly."""
    known = ~unknown
    own = covariance[np.ix_(known, known)] + 1e-6 * np.mean(np.diag(covariance)) * np.eye(known.sum())
    gain = linalg.solve(own, covariance[np.ix_(known, unknown)], assume_a="pos").T
    mean, std = signal.copy(), np.zeros(len(signal))
    mean[unknown] = gain @ signal[known]
    left = covariance[np.ix_(unknown, unknown)] - gain @ covariance[np.ix_(known, unknown)]
    std[unknown] = np.sqrt(np.maximum(np.diag(left), 0))
    return mean, std


def _limits(
    signal: np.ndarray, unknown: np.ndarray, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    """Of every sample: [low, ...] and [..., high] that a restoration may take."""
    least, most = np.full(len(signal), -np.inf), np.full(len(signal), np.inf)
    least[unknown & (signal >= high)] = high
    most[unknown & (signal <= low)] = low
    return least, most


def _stretches(unknown: np.ndarray) -> list[tuple[int, int]]:
    """(start, stop) that hold all unknown samples, cut where REACH samples in a row are known or REACH were taken."""
    found: list[list[int]] = []
    for at in np.flatnonzero(unknown).tolist():
        if found and at - found[-1][1] < REACH and at - found[-1][0] < REACH:
            found[-1][1] = at + 1
        else:
            found.append([at, at + 1])
    return [(start, stop) for start, stop in found]


def _janssen(x: np.ndarray, unknown: np.ndarray, least: np.ndarray, most: np.ndarray) -> np.ndarray:
    x = x.copy()
    bounded = np.isfinite(least[unknown]) | np.isfinite(most[unknown])
    sign = np.where(np.isfinite(most[unknown]), -1.0, 1.0)
    limit = np.where(sign > 0, least[unknown], most[unknown])
    for _ in range(ROUNDS):
        errors = _prediction_errors(x)
        free, told = errors[:, unknown], -errors[:, ~unknown] @ x[~unknown]
        root = linalg.cholesky(free.T @ free + 1e-9 * np.eye(free.shape[1]))
        right = linalg.solve_triangular(root, free.T @ told, trans="T")
        if bounded.all():  # x = limit + sign u with u >= 0
            x[unknown] = limit + sign * nnls(root * sign, right - root @ limit)[0]
        else:
            x[unknown] = linalg.solve_triangular(root, right)
    return x


def _prediction_errors(x: np.ndarray) -> np.ndarray:
    """A [T - p, T] of the autoregression of x."""
    correlation = np.correlate(x, x, "full")[len(x) - 1 :][: ORDER + 1]
    correlation[0] *= 1 + 1e-6  # a little white noise, so that no pole comes to lie on the unit circle
    a = linalg.solve_toeplitz(correlation[:-1], correlation[1:])
    errors = np.zeros((len(x) - ORDER, len(x)))
    for k, value in enumerate((*-a[::-1], 1.0)):
        errors[np.arange(len(errors)), np.arange(len(errors)) + k] = value
    return errors
