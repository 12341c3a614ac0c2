r"""Adams-Bashforth methods on the noise: dy/drho = E with y = x/alpha, rho = sigma/alpha.

    y_t = y_s + sum_i w_i E_i,    w_i = integral of the Lagrange polynomial L_i over the step

    ab_k    polynomials in rho                         (Liu et al. 2022, PNDM without its Runge-Kutta start)
    deis_k  polynomials in log rho                     (Zhang and Chen 2023, tAB-DEIS in log rho)

Written as the first-order step plus differences of noises, since the weights sum to rho_t - rho_s. Where a wrapper
has changed the mean and not the noise, the first-order step alpha_t D + sigma_t E uses both as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from perrin.sample.rule import rule
from perrin.sample.tracing import Linear, Step

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)


def _lagrange(nodes: list[float], index: int, u: np.ndarray) -> np.ndarray:
    value = np.ones_like(u)
    for other, node in enumerate(nodes):
        if other != index:
            value *= (u - node) / (nodes[index] - node)
    return value


def _adams(
    step: Step, count: int, coordinate: Callable[[float], float], density: Callable[..., np.ndarray]
) -> Linear:
    """`coordinate` maps lam to the polynomials' variable u; `density` is d rho / du."""
    s, t = step.s, step.t
    now = step.predict()
    euler = t.alpha * now.mean + t.sigma * now.noise
    past = [p for p in step.history[1:count] if p.at.finite]
    if not step.finite or not past:
        return euler
    points = [now, *past]
    a, b = coordinate(s.lam), coordinate(t.lam)
    u = 0.5 * (b - a) * _NODES + 0.5 * (a + b)
    measure = 0.5 * (b - a) * _WEIGHTS * density(u)
    nodes = [coordinate(p.at.lam) for p in points]
    for index in range(1, len(points)):
        weight = float(measure @ _lagrange(nodes, index, u))
        euler = euler + (t.alpha * weight) * (points[index].noise - now.noise)
    return euler


def _in_rho(step: Step, count: int) -> Linear:
    return _adams(step, count, lambda lam: math.exp(-lam), np.ones_like)


@rule("ab_2", order=2, raw_noise=True)
def ab_2(step: Step) -> Linear:
    """Adams-Bashforth of order 2 on the noise, in sigma/alpha."""
    return _in_rho(step, 2)


@rule("ab_3", order=3, start_order=2, raw_noise=True)
def ab_3(step: Step) -> Linear:
    """Adams-Bashforth of order 3 on the noise, in sigma/alpha."""
    return _in_rho(step, 3)


@rule("ab_4", order=4, start_order=2, raw_noise=True)
def ab_4(step: Step) -> Linear:
    """Adams-Bashforth of order 4 on the noise, in sigma/alpha."""
    return _in_rho(step, 4)


@rule("deis_3", order=3, start_order=2, raw_noise=True)
def deis_3(step: Step) -> Linear:
    """DEIS with three predictions: Adams-Bashforth on the noise, polynomial in log(sigma/alpha)."""
    return _adams(step, 3, lambda lam: -lam, np.exp)
